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
        // the output has the same rank
        for fact in inputs.first().into_iter().chain(outputs.first()) {
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
    use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto};

    /// Loads a model that normalises its ids, a tensor of two dimensions, and returns why it is refused.
    fn refused(axis: Option<i64>, squeezed: bool) -> String {
        let int = |name: &str, i: i64| AttributeProto {
            name: name.into(),
            i,
            r#type: 2, // INT
            ..Default::default()
        };
        let node = |kind: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>| NodeProto {
            name: output.into(),
            op_type: kind.into(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.into()],
            attribute,
            ..Default::default()
        };
        let of_type = TypeProto {
            value: Some(type_proto::Value::TensorType(TensorType { elem_type: 7, shape: None })),
            ..Default::default()
        };
        let value = |name: &str, r#type| ValueInfoProto { name: name.into(), r#type, ..Default::default() };
        let cast = node("Cast", &["input_ids"], "cast", vec![int("to", 1)]);
        let keep = vec![int("keepdims", i64::from(!squeezed))];
        let sum = node("ReduceSum", &["cast"], "sum", keep);
        let norm = node(
            "LayerNormalization",
            &["sum", "sum"],
            "norm",
            axis.map(|i| int("axis", i)).into_iter().collect(),
        );
        let graph = GraphProto {
            node: vec![cast, sum, norm],
            input: vec![value("input_ids", Some(of_type))],
            output: vec![value("norm", None)],
            ..Default::default()
        };
        let opset_import = vec![tract_onnx::pb::OperatorSetIdProto { version: 17, ..Default::default() }];
        let model = ModelProto { graph: Some(graph), opset_import, ir_version: 8, ..Default::default() };
        Stock::load(model, &[]).map_or_else(|error| error.to_string(), |_| "no".into())
    }

    #[test]
    fn an_axis_has_to_be_one_of_the_input() {
        for axis in [None, Some(-1), Some(-2), Some(0), Some(1)] {
            assert_eq!(refused(axis, false), "no", "{axis:?}");
        }
        for axis in [-64, -3, 2, 64] {
            let error = refused(Some(axis), false);
            assert!(error.contains(&format!("axis {axis} of 2 dimensions")), "{error}");
        }
        // a single number has no last axis
        let error = refused(None, true);
        assert!(error.contains("axis -1 of 0 dimensions"), "{error}");
    }
}
