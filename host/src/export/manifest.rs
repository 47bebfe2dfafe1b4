use crate::bert::{Checkpoint, InputFormat, TextWindows};
use goldcrest_edge::bundle::{Licence, Manifest, Windows};

/// Creates the manifest of a checkpoint with this input format. Name, version, licences, decision and figures
/// remain to be filled in.
pub fn manifest(checkpoint: &Checkpoint, input: InputFormat) -> Manifest {
    let config = &checkpoint.config;
    Manifest {
        name: String::new(),
        version: String::new(),
        task: config.task(),
        pair: input.pairs,
        labels: config.labels(),
        tokenizer: checkpoint.tokenizer.settings(),
        max_tokens: input.max_tokens as u32,
        windows: input.windows.map_or(Windows::Truncate, Windows::from),
        decision: Default::default(),
        measured: Vec::new(),
        licence: Licence { base_model: String::new(), data: String::new() },
        created_by: concat!("goldcrest ", env!("CARGO_PKG_VERSION")).into(),
    }
}

/// Returns the input format of a bundle's model.
pub(super) fn input_format(manifest: &Manifest) -> InputFormat {
    InputFormat {
        max_tokens: manifest.max_tokens as usize,
        pairs: manifest.pair,
        windows: match manifest.windows {
            Windows::Mean { overlap, most } => Some(TextWindows { overlap, most }),
            Windows::Truncate => None,
        },
    }
}
