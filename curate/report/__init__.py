"""Pages and charts for people: pure functions over frozen values, written as HTML and SVG."""
