//! Cosine similarities between rows.

use super::{Matrix, multiply, threads};

/// Returns the rows [rows, width] scaled to length 1, and the inverses of their lengths.
pub(crate) fn unit_rows(x: &[f32], rows: usize) -> (Vec<f32>, Vec<f32>) {
    let width = x.len() / rows.max(1);
    let of_row = |row: &[f32]| 1.0 / (row.iter().map(|x| x * x).sum::<f32>() + 1e-12).sqrt();
    let inverse: Vec<f32> = x.chunks_exact(width.max(1)).map(of_row).collect();
    let unit = x.chunks_exact(width.max(1)).zip(&inverse).flat_map(|(row, i)| row.iter().map(move |x| x * i));
    (unit.collect(), inverse)
}

/// For each unit row, returns up to `most` other rows with a cosine similarity above `least`, nearest first.
pub(crate) fn nearest(unit: &[f32], rows: usize, most: usize, least: f32) -> Vec<Vec<u32>> {
    const BLOCK: usize = 512;
    let width = unit.len() / rows.max(1);
    let mut near = Vec::with_capacity(rows);
    let mut similarities = vec![0.0; BLOCK * rows];
    for start in (0..rows).step_by(BLOCK) {
        let block = Matrix::new(&unit[start * width..], BLOCK.min(rows - start), width, width);
        let all = Matrix::new(unit, rows, width, width);
        multiply(&mut similarities, rows, block, all.t(), false, threads());
        for (i, row) in (start..rows).zip(similarities.chunks_exact(rows)).take(BLOCK) {
            let nearer = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
            let mut similar: Vec<u32> =
                (0..rows as u32).filter(|j| *j as usize != i && row[*j as usize] > least).collect();
            if similar.len() > most {
                similar.select_nth_unstable_by(most, nearer);
                similar.truncate(most);
            }
            similar.sort_unstable_by(nearer);
            near.push(similar);
        }
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_matches_brute_force() {
        let (rows, width) = (700, 5);
        let x = crate::bert::normal(&[rows, width], 1.0, 3).data;
        let (unit, inverse) = unit_rows(&x, rows);
        assert!((unit[0] - x[0] * inverse[0]).abs() < 1e-6);
        let found = nearest(&unit, rows, 4, 0.5);
        assert_eq!(found.len(), rows);
        for (i, found) in found.iter().enumerate() {
            let row = |i: usize| &x[i * width..][..width];
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let cosine = |j: usize| dot(row(i), row(j)) / (dot(row(i), row(i)) * dot(row(j), row(j))).sqrt();
            let mut wanted: Vec<usize> = (0..rows).filter(|j| *j != i && cosine(*j) > 0.5).collect();
            wanted.sort_by(|a, b| cosine(*b).total_cmp(&cosine(*a)));
            wanted.truncate(4);
            let of = |near: &[usize]| near.iter().map(|j| cosine(*j)).collect::<Vec<_>>();
            let found: Vec<usize> = found.iter().map(|j| *j as usize).collect();
            let close = of(&found).iter().zip(of(&wanted)).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(found.len() == wanted.len() && close, "{i}: {found:?}, not {wanted:?}");
        }
    }
}
