"use strict";
(function () {
  const PALETTES = {
    light: { strategy: "#0b62b8", fill: "rgba(11,98,184,0.14)", benchmark: "#8a6d3b", ink: "#16191f",
             soft: "#5b6472", grid: "#e6e9ee", hover: "#ffffff", line: "#dfe3e9" },
    dark: { strategy: "#62aef5", fill: "rgba(98,174,245,0.18)", benchmark: "#d2b06f", ink: "#e8eaee",
            soft: "#98a2b1", grid: "#2a3039", hover: "#20252d", line: "#2d333d" },
  };
  const A4 = { width: 680, height: 360 };  // CSS pixels inside the margins; the height of the box in print
  const box = document.getElementById("chart");
  const figure = JSON.parse(document.getElementById("chart-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displaylogo: false, displayModeBar: false, showTips: false };

  function coloured(palette, size) {
    const made = JSON.parse(JSON.stringify(figure));
    for (const trace of made.data) {
      trace.line.color = palette[trace.meta];
      trace.marker.color = palette[trace.meta];
      if (trace.fill) trace.fillcolor = palette.fill;
    }
    const layout = made.layout;
    layout.font.color = palette.soft;
    layout.legend.font = { color: palette.ink };
    layout.hoverlabel = { bgcolor: palette.hover, bordercolor: palette.line, font: { color: palette.ink } };
    for (const axis of ["yaxis", "yaxis2"]) layout[axis].gridcolor = palette.grid;
    Object.assign(layout, size || {}, { autosize: !size });
    return made;
  }

  function draw(name, size) {
    const made = coloured(PALETTES[name], size);
    return Plotly.react(box, made.data, made.layout, config);
  }

  function start() {
    if (typeof Plotly === "undefined") return;
    box.replaceChildren();
    const current = () => draw(dark.matches ? "dark" : "light");
    current();
    dark.addEventListener("change", current);
    window.addEventListener("beforeprint", () => draw("light", A4));
    window.addEventListener("afterprint", current);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
