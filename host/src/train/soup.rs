//! Averaging the weights of several models.

use super::Error;
use crate::bert::{self, Checkpoint};
use std::path::PathBuf;

/// Averages the weights of checkpoints that were fine-tuned from the same start (Wortsman et al., Model
/// soups, arXiv 2203.05482). The result is about as good as averaging their answers, and no larger than one
/// of them.
///
/// # Errors
/// If there is no folder, one cannot be read, or the models differ in shape.
pub fn soup(folders: &[PathBuf]) -> Result<Checkpoint, Error> {
    let (first, others) = folders.split_first().ok_or(Error::Empty)?;
    let mut mean = Checkpoint::load(first)?;
    for (count, folder) in (2..).zip(others) {
        let other = Checkpoint::load(folder)?;
        let share = 1.0 / count as f32;
        for (name, weights) in &mut mean.tensors {
            let hint = "were these models fine-tuned from the same start?";
            let others = other.tensors.get(name);
            let others = others.ok_or_else(|| bert::Error::Missing { name: name.clone(), hint })?;
            if others.shape != weights.shape {
                let (found, wanted) = (others.shape.clone(), weights.shape.clone());
                return Err(bert::Error::Shape { name: name.clone(), found, wanted }.into());
            }
            weights.data.iter_mut().zip(&others.data).for_each(|(mean, x)| *mean += (x - *mean) * share);
        }
    }
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::Array;
    use crate::train::test_support::without_weights;
    use std::collections::BTreeMap;

    #[test]
    fn weights_are_averaged() {
        let folder = tempfile::tempdir().unwrap();
        let empty = without_weights();
        let save = |(number, x): (usize, f32)| {
            let shapes = Checkpoint::shapes(&empty.config).into_iter();
            let tensors: BTreeMap<String, Array> = shapes
                .map(|(name, shape)| {
                    let data = vec![x; shape.iter().product()];
                    (name, Array { shape, data })
                })
                .collect();
            let to = folder.path().join(number.to_string());
            Checkpoint { tensors, ..empty.clone() }.save(&to).unwrap();
            to
        };
        let folders: Vec<PathBuf> = [1.0, 2.0, 6.0].into_iter().enumerate().map(save).collect();
        let mean = soup(&folders).unwrap();
        assert!(mean.tensors.values().flat_map(|weights| &weights.data).all(|x| (x - 3.0).abs() < 1e-6));
        assert!(matches!(soup(&[]), Err(Error::Empty)));
        // another number of labels
        let mut other = Checkpoint::load(&folders[0]).unwrap();
        other.config.set_labels(&["a".into(), "b".into(), "c".into()], crate::data::Task::SingleLabel);
        other.drop_head();
        other.save(&folders[1]).unwrap();
        assert!(soup(&folders).is_err());
        for (name, shape) in Checkpoint::shapes(&other.config) {
            let data = vec![1.0; shape.iter().product()];
            other.tensors.insert(name, Array { shape, data });
        }
        other.save(&folders[1]).unwrap();
        assert!(matches!(soup(&folders), Err(Error::Bert(bert::Error::Shape { .. }))));
    }
}
