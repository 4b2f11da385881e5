//! Plots as SVG, made for a phone's width: they grow with the page and need nothing else.

mod axis;
mod bars;
mod lines;
mod svg;

pub(crate) use axis::{Axis, Scale};
pub(crate) use bars::{Bar, Bars, Group};
pub(crate) use lines::{Line, Lines};
pub(crate) use svg::{STYLE, escape, standalone};
