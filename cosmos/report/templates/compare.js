"use strict";
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function template() {
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true };
  return {
    layout: {
      font: { color: colour("--text"), family: "system-ui, sans-serif", size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 60, r: 20, t: 30, b: 50 },
      xaxis: axis, yaxis: axis,
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
      colorway: ["#3b82f6", "#d97706", "#16a34a", "#db2777", "#7c3aed", "#0891b2"],
    },
  };
}

const figures = [...document.querySelectorAll("figure")];
const place = figure => figure.querySelector(".plot");

function draw(figure) {
  const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
  Plotly.react(place(figure), data, { ...layout, template: template() }, { responsive: true, displayModeBar: false });
}

// a plot is drawn when it comes near: one in a closed <details> has no size before
const near = new IntersectionObserver(entries => {
  for (const { target } of entries.filter(entry => entry.isIntersecting)) {
    near.unobserve(target);
    draw(target);
  }
}, { rootMargin: "600px" });
figures.forEach(figure => near.observe(figure));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  figures.filter(figure => place(figure).hasChildNodes()).forEach(draw));
