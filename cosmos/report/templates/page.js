"use strict";
const root = document.documentElement;
const colour = name => getComputedStyle(root).getPropertyValue(name).trim();

function template() {
  const axis = { gridcolor: colour("--grid"), zerolinecolor: colour("--grid"), linecolor: colour("--quiet"), automargin: true };
  return {
    layout: {
      font: { color: colour("--text"), family: "system-ui, sans-serif", size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { bgcolor: colour("--ground"), bordercolor: colour("--quiet"), font: { color: colour("--text") } },
      margin: { l: 60, r: 20, t: 30, b: 50 },
      xaxis: axis, yaxis: axis,
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
      colorway: ["#3b82f6", "#d97706", "#16a34a", "#db2777", "#7c3aed", "#0891b2"],
    },
  };
}

const figures = [...document.querySelectorAll("figure")].filter(figure => figure.querySelector(".plot"));
const place = figure => figure.querySelector(".plot");
const isOpen = figure => place(figure).clientWidth > 0;

function draw(figure) {
  const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
  Plotly.react(place(figure), data, { ...layout, template: template() }, { responsive: true, displayModeBar: false });
}

// all plots are drawn at once, so that a picture of the whole page has them; those in a closed <details>
// have no size before it is opened
const drawOpen = () => figures.filter(isOpen).forEach(draw);
drawOpen();
document.querySelectorAll("details").forEach(details => details.addEventListener("toggle", () => {
  figures.filter(figure => details.contains(figure) && isOpen(figure) && !place(figure).hasChildNodes()).forEach(draw);
}));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawOpen);

// paper is white, and has room for all that is folded away
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach(details => { details.open = true; });
  root.classList.add("paper");
  drawOpen();
});
addEventListener("afterprint", () => {
  closed.forEach(details => { details.open = false; });
  root.classList.remove("paper");
  drawOpen();
});

function button(text, label, action) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.setAttribute("aria-label", label);
  element.addEventListener("click", action);
  return element;
}

function makeStepper(stepper) {
  const steps = [...stepper.children].filter(child => child.classList.contains("step"));
  if (steps.length < 2) return;
  let current = 0;
  const count = document.createElement("span");
  const show = number => {
    current = (number + steps.length) % steps.length;
    steps.forEach((step, index) => step.classList.toggle("aside", index !== current));
    count.textContent = `${current + 1} of ${steps.length}`;
  };
  const bar = document.createElement("p");
  bar.className = "turner";
  count.setAttribute("aria-live", "polite");
  bar.append(
    button("\u2190", "previous", () => show(current - 1)), count, button("\u2192", "next", () => show(current + 1)));
  stepper.prepend(bar);
  stepper.tabIndex = 0;
  stepper.setAttribute("role", "group");
  stepper.addEventListener("keydown", event => {
    const turn = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (turn && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      show(current + turn);
    }
  });
  show(0);
}
document.querySelectorAll(".stepper").forEach(makeStepper);
