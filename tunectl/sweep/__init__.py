"""See the knob: one photo along alpha, as a sheet, an animation or a page with a slider."""
