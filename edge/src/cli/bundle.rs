//! Where bundles come from.
use super::Usage;
use anyhow::{Context, Result};
use clap::Args;
use goldcrest_edge::bundle::{self, Bundle, Mapped};
use goldcrest_edge::{Classifier, Options, classifier, model};
use std::path::PathBuf;

/// Which bundle to use.
#[derive(Args)]
pub struct BundleArgs {
    /// The bundle to use instead of the embedded model
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// Which model to use, and how to run it.
#[derive(Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub bundle: BundleArgs,
    /// Run the whole model on tract's stock operators, a reference from which the fused ones differ slightly
    #[arg(long)]
    pub stock: bool,
}

impl BundleArgs {
    /// Returns the name of the bundle for diagnostics.
    pub fn name(&self) -> String {
        self.bundle.as_ref().map_or("the embedded model".into(), |path| path.display().to_string())
    }

    pub fn open(&self) -> Result<Mapped> {
        match &self.bundle {
            Some(path) => {
                let mapped = bundle::map(path)?;
                mapped.exit_on_truncation("goldcrest-edge")?;
                Ok(mapped)
            }
            None => Ok(Mapped::embedded(embedded()?)),
        }
    }

    pub fn read<'a>(&self, opened: &'a Mapped) -> Result<Bundle<'a>> {
        let bundle = match &self.bundle {
            Some(_) => opened.read(),
            None => Bundle::read_trusted(opened.bytes()),
        };
        bundle.with_context(|| self.name())
    }

    pub fn load(&self, bundle: &Bundle<'_>, opened: &Mapped, options: &Options) -> Result<Classifier> {
        match Classifier::from_mapped(bundle, opened, options) {
            // the fault of GOLDCREST_ISA, not of the bundle
            Err(classifier::Error::Model(model::Error::Kernels(error))) => {
                Err(Usage(error.to_string()).into())
            }
            // it has the path
            Err(classifier::Error::Open(error)) => Err(error.into()),
            loaded => loaded.with_context(|| self.name()),
        }
    }
}

impl ModelArgs {
    pub fn load(&self) -> Result<Classifier> {
        let opened = self.bundle.open()?;
        let bundle = self.bundle.read(&opened)?;
        self.bundle.load(&bundle, &opened, &self.options())
    }

    pub fn options(&self) -> Options {
        Options { fuse: !self.stock, ..Options::default() }
    }
}

/// The embedded bundle, aligned like a mapped one.
#[cfg(feature = "embedded")]
fn embedded() -> Result<&'static [u8], Usage> {
    #[repr(C, align(64))]
    struct Aligned<T: ?Sized>(T);
    static EMBEDDED: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../models/sentiment/sentiment.bundle"));
    Ok(&EMBEDDED.0)
}

#[cfg(not(feature = "embedded"))]
fn embedded() -> Result<&'static [u8], Usage> {
    Err(Usage("this binary was built without a model: name one with --bundle FILE".into()))
}
