//! From labelled texts to one small file that classifies text on a board.
//!
//! Data flows one way:
//! [`data`] → [`train`] → [`distill`] → [`quantize`] → [`export`] → bundle, judged by [`evaluate`], all of it named by a [`recipe`].
//! [`bert`] is the model that training works on, [`pretrain`] what it can learn before.

pub mod bert;
pub mod data;
pub mod distill;
pub mod evaluate;
pub mod export;
pub mod metrics;
pub mod pretrain;
pub mod quantize;
pub mod recipe;
pub mod train;
