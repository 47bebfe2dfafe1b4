//! tract's LayerNormalization counts up to its axis one by one. If that is before the first one, it counts to the largest
//! number there is, so it is refused here.

use std::sync::LazyLock;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::internal::*;

const NAME: &str = "LayerNormalization";

type Builder = fn(&ParsingContext, &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Makes `framework` check the axes of LayerNormalization.
pub(super) fn check_axes(framework: &mut Onnx) {
    framework.op_register.insert(NAME, checked);
}

fn checked(context: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    static TRACTS: LazyLock<Builder> = LazyLock::new(|| tract_onnx::onnx().op_register.0[NAME]);
    let (op, closures) = TRACTS(context, node)?;
    let axis = node.attribute.iter().find(|attribute| attribute.name == "axis").map_or(-1, |axis| axis.i);
    Ok((Box::new(Checked { axis, op }), closures))
}

#[derive(Clone, Debug)]
struct Checked {
    axis: i64,
    op: Box<dyn InferenceOp>,
}

impl PartialEq for Checked {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Checked {}

impl Op for Checked {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    not_a_typed_op!();
}

impl EvalOp for Checked {
    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.op.eval_out_of_plan(inputs)
    }
}

impl InferenceOp for Checked {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        // all outputs have the rank of the first input
        for fact in inputs.first().copied().into_iter().chain(outputs.iter().copied()) {
            if let Some(rank) = fact.shape.rank().concretize() {
                ensure!((-rank..rank).contains(&self.axis), "axis {} of {rank} dimensions", self.axis);
            }
        }
        self.op.infer_facts(inputs, outputs, observed)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.op.nboutputs()
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        self.op.to_typed(source, node, target, mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stock::Stock;
    use tract_onnx::pb::type_proto::{self, Tensor as TensorType};
    use tract_onnx::pb::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto,
        ValueInfoProto,
    };

    fn node(kind: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, i64)]) -> NodeProto {
        let integer = 2;
        let attribute = |&(name, i): &(&str, i64)| AttributeProto {
            name: name.into(),
            i,
            r#type: integer,
            ..Default::default()
        };
        let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        NodeProto {
            name: outputs[0].into(),
            op_type: kind.into(),
            input: names(inputs),
            output: names(outputs),
            attribute: attributes.iter().map(attribute).collect(),
            ..Default::default()
        }
    }

    /// Loads a model that makes `output` of its ids as f32, [1, sequence], and returns why it is refused.
    fn refused(nodes: &[NodeProto], output: &str) -> Option<String> {
        let int64 = 7;
        let of_type = TypeProto {
            value: Some(type_proto::Value::TensorType(TensorType { elem_type: int64, shape: None })),
            ..Default::default()
        };
        let value = |name: &str, r#type| ValueInfoProto { name: name.into(), r#type, ..Default::default() };
        let zero =
            TensorProto { name: "zero".into(), data_type: int64, raw_data: vec![0; 8], ..Default::default() };
        let cast = node("Cast", &["input_ids"], &["ids"], &[("to", 1)]);
        let graph = GraphProto {
            node: [&[cast], nodes].concat(),
            initializer: vec![zero],
            input: vec![value("input_ids", Some(of_type))],
            output: vec![value(output, None)],
            ..Default::default()
        };
        let opset_import = vec![OperatorSetIdProto { version: 17, ..Default::default() }];
        let model = ModelProto { graph: Some(graph), opset_import, ir_version: 8, ..Default::default() };
        Stock::load(model, &[]).err().map(|error| error.to_string())
    }

    #[test]
    fn an_axis_has_to_be_one_of_the_input() {
        let of_sum = |axis: &[(&str, i64)], keep: i64| {
            let sum = node("ReduceSum", &["ids"], &["sum"], &[("keepdims", keep)]);
            refused(&[sum, node("LayerNormalization", &["sum", "sum"], &["norm"], axis)], "norm")
        };
        assert_eq!(of_sum(&[], 1), None);
        for axis in [-2, -1, 0, 1] {
            assert_eq!(of_sum(&[("axis", axis)], 1), None, "{axis}");
        }
        for axis in [-64, -3, 2, 64] {
            let error = of_sum(&[("axis", axis)], 1).unwrap();
            assert!(error.contains(&format!("axis {axis} of 2 dimensions")), "{error}");
        }
        // a single number has no last axis
        let error = of_sum(&[], 0).unwrap();
        assert!(error.contains("axis -1 of 0 dimensions"), "{error}");
    }

    /// The number of dimensions that the ids are reshaped to is unknown, but not that of the means.
    #[test]
    fn the_dimensions_may_be_known_from_a_further_output() {
        let gathered = node("Gather", &["input_ids", "zero"], &["shape"], &[("axis", 0)]);
        let reshaped = node("Reshape", &["ids", "shape"], &["reshaped"], &[]);
        let norm = node("LayerNormalization", &["reshaped", "reshaped"], &["norm", "mean"], &[("axis", -3)]);
        let mut transposed = node("Transpose", &["mean"], &["transposed"], &[]);
        let (name, integers) = ("perm".into(), 7);
        transposed.attribute.push(AttributeProto {
            name,
            ints: vec![1, 0],
            r#type: integers,
            ..Default::default()
        });
        let error = refused(&[gathered, reshaped, norm, transposed], "transposed").unwrap();
        assert!(error.contains("axis -3 of 2 dimensions"), "{error}");
    }
}
