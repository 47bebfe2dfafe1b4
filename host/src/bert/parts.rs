//! The linear layers and LayerNorms of a classifier, by name.

use super::ops::{
    Precision, Slot, bias_gradient, input_gradient, layer_norm, layer_norm_backward, linear,
    round_activations, round_weights, weight_gradient,
};
use super::tape::{Norm, sized};
use super::{Classifier, Gradients, Mode};

impl Classifier {
    /// Computes the linear layer `name`. Every product of activations and weights goes through here, except
    /// the projection of factorised embeddings.
    pub(super) fn linear(&self, name: &str, mode: Mode, x: &[f32], y: &mut [f32]) {
        let (weight, bias) = (format!("{name}.weight"), self.weight(&format!("{name}.bias")));
        match self.rounded(&weight, x, bias.len()) {
            Some((x, weight)) => linear(Precision::F32, &x, &weight, bias, y),
            None => linear(mode.precision(), x, self.weight(&weight), bias, y),
        }
    }

    /// Returns the activations and the matrix `name`, both rounded to integers, if that matrix is to be
    /// rounded.
    pub(super) fn rounded(&self, name: &str, x: &[f32], outputs: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let bits = self.bits(name)?;
        let (mut x, mut weight) = (x.to_vec(), self.weight(name).to_vec());
        let inputs = weight.len() / outputs;
        round_activations(&mut x, inputs);
        round_weights(&mut weight, inputs, bits);
        Some((x, weight))
    }

    /// Backward of [`linear`](Self::linear): `x` as in forward, `g` the gradient of y; the gradient of x goes
    /// to `dx`.
    pub(super) fn linear_backward(
        &self,
        name: &str,
        mode: Mode,
        x: &[f32],
        g: &[f32],
        dx: Slot,
        gradients: &mut Gradients,
    ) {
        let weight = format!("{name}.weight");
        let [dw, db] = gradients.pair(name);
        let outputs = db.values.len();
        let rounded = self.rounded(&weight, x, outputs);
        let (precision, x, weight) = match &rounded {
            Some((x, weight)) => (Precision::F32, &x[..], &weight[..]),
            None => (mode.precision(), x, self.weight(&weight)),
        };
        weight_gradient(precision, g, x, outputs, dw);
        bias_gradient(g, db);
        input_gradient(precision, g, weight, outputs, dx);
    }

    /// Applies the LayerNorm `name` to `norm.normal`.
    pub(super) fn norm(&self, name: &str, norm: &mut Norm, y: &mut [f32]) {
        let (w, b) = (self.weight(&format!("{name}.weight")), self.weight(&format!("{name}.bias")));
        let inverse = sized(&mut norm.inverse, y.len() / w.len());
        layer_norm(&mut norm.normal, w, b, self.config().layer_norm_eps as f32, inverse, y);
    }

    pub(super) fn norm_backward(&self, name: &str, norm: &Norm, g: &mut [f32], gradients: &mut Gradients) {
        let w = self.weight(&format!("{name}.weight"));
        layer_norm_backward(&norm.normal, &norm.inverse, w, g, gradients.pair(name));
    }
}
