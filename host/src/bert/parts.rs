//! The linear layers and LayerNorms of a classifier, by name.

use super::ops::{
    IntegerLinear, Integers, Slot, bias_gradient, input_gradient, layer_norm, layer_norm_backward, linear,
    weight_gradient,
};
use super::tape::{Norm, sized};
use super::{Classifier, Gradients, Mode};

impl Classifier {
    /// Computes the linear layer `name`. Every product of activations and weights goes through here, except
    /// the projection of factorised embeddings.
    pub(super) fn linear(&self, name: &str, mode: Mode, x: &[f32], y: &mut [f32]) {
        let (weight, bias) = (format!("{name}.weight"), self.weight(&format!("{name}.bias")));
        match self.in_integers(&weight, x, bias.len()) {
            Some(layer) => layer.forward(mode.precision(), Some(bias), y),
            None => linear(mode.precision(), x, self.weight(&weight), bias, y),
        }
    }

    /// Returns the layer of the matrix `name` in integers, if that matrix is to be rounded.
    pub(super) fn in_integers(&self, name: &str, x: &[f32], outputs: usize) -> Option<IntegerLinear> {
        let (bits, weight) = (self.bits(name)?, self.weight(name));
        let inputs = weight.len() / outputs;
        Some(IntegerLinear {
            x: Integers::of_activations(x, inputs),
            weight: Integers::of_weights(weight, inputs, bits),
        })
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
        bias_gradient(g, db);
        self.product_backward(&weight, mode, x, g, outputs, dw, dx);
    }

    /// Backward of a product with the matrix `name`.
    #[expect(clippy::too_many_arguments, reason = "two inputs and their gradients")]
    pub(super) fn product_backward(
        &self,
        name: &str,
        mode: Mode,
        x: &[f32],
        g: &[f32],
        outputs: usize,
        dw: Slot,
        dx: Slot,
    ) {
        if let Some(layer) = self.in_integers(name, x, outputs) {
            return layer.backward(mode.precision(), g, dw, dx);
        }
        weight_gradient(mode.precision(), g, x, outputs, dw);
        input_gradient(mode.precision(), g, self.weight(name), outputs, dx);
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
