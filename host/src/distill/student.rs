use super::Layers;
use crate::bert::{Checkpoint, Error};

/// The teacher's layers that a student is made of.
///
/// A number is spread evenly and ends with the last layer: 3 of 6 are 1, 3, 5.
///
/// # Errors
/// When there are more than the teacher has, or a layer that it lacks.
pub fn chosen_layers(layers: &Layers, teacher: usize) -> Result<Vec<usize>, Error> {
    let chosen: Vec<usize> = match layers {
        Layers::Count(n) => (1..=*n).map(|i| (i * teacher).div_ceil((*n).max(1)).saturating_sub(1)).collect(),
        Layers::These(list) => list.clone(),
    };
    if chosen.len() > teacher || chosen.iter().any(|l| *l >= teacher) {
        return Err(Error::Config(format!(
            "distill.layers asks for {layers:?}, the teacher has {teacher} layers"
        )));
    }
    Ok(chosen)
}

/// A student with some of the teacher's layers, its embeddings, pooler and head.
///
/// # Errors
/// When a layer is missing.
pub fn cut_layers(teacher: &Checkpoint, layers: &[usize]) -> Result<Checkpoint, Error> {
    let mut student = teacher.clone();
    student.config.num_hidden_layers = layers.len();
    if let Some(shape) = &mut student.config.goldcrest {
        let of = |values: &[usize]| layers.iter().map(|l| values[*l]).collect();
        (shape.heads, shape.intermediate) = (of(&shape.heads), of(&shape.intermediate));
    }
    student.tensors.retain(|name, _| !name.starts_with("bert.encoder."));
    for (to, from) in layers.iter().enumerate() {
        let prefix = format!("bert.encoder.layer.{from}.");
        for (name, array) in &teacher.tensors {
            if let Some(rest) = name.strip_prefix(&prefix) {
                student.tensors.insert(format!("bert.encoder.layer.{to}.{rest}"), array.clone());
            }
        }
    }
    Ok(student)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_spread_and_end_with_the_last() {
        assert_eq!(chosen_layers(&Layers::Count(3), 6).unwrap(), [1, 3, 5]);
        assert_eq!(chosen_layers(&Layers::Count(4), 6).unwrap(), [1, 2, 4, 5]);
        assert_eq!(chosen_layers(&Layers::Count(1), 6).unwrap(), [5]);
        assert_eq!(chosen_layers(&Layers::Count(6), 6).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert!(chosen_layers(&Layers::Count(7), 6).is_err());
        assert!(chosen_layers(&Layers::These(vec![0, 6]), 6).is_err());
    }
}
