// The stock over time, with marks for what happened.

import { chosen, clock, find, grouped, list, make, setData, setText, t } from "./elements.js";

const SHOWN_SECONDS = 180; // history.py keeps the marks of purchases for as long.

let chart = null;
let marks = [];
const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const MARKS = {
  purchase: { colour: "accent", symbol: "●" },
  out_of_stock: { colour: "amber", symbol: "◆" },
  arrival: { colour: "green", symbol: "▲" },
  broken: { colour: "red", symbol: "▼" },
  healed: { colour: "green", symbol: "✚" },
};

export function renderStock(view) {
  const samples = view.samples[chosen()?.slug] ?? [];
  const stocks = samples.map((sample) => sample.stock);
  const times = samples.map((sample) => sample.at / 1000);
  const end = times.at(-1) ?? view.at / 1000;
  marks = view.marks.filter((mark) => mark.at / 1000 >= end - SHOWN_SECONDS);
  list(
    find("#marks"),
    Object.keys(MARKS),
    (kind) => kind,
    (kind) =>
      make(
        "li",
        { data: { mark: kind } },
        make("span", { class: "symbol", "aria-hidden": "true" }, MARKS[kind].symbol),
        t(`page.mark.${kind}`),
        " ",
        make("b"),
      ),
    (row, kind) => {
      const count = marks.filter((mark) => mark.kind === kind).length;
      setData(row, { count });
      setText(find("b", row), grouped.format(count));
    },
  );
  if (!samples.length) {
    setText(find("#stock-at"), t("page.stock.none"));
    return;
  }
  const values = {
    stock: stocks.at(-1),
    least: Math.min(...stocks),
    most: Math.max(...stocks),
    seconds: Math.round(times.at(-1) - times[0]),
  };
  find("#chart").setAttribute("aria-label", t("page.stock.chart", values));
  chart ??= makeChart();
  chart.setData([times, stocks]);
  if (chart.cursor.idx === null) showSample(samples.length - 1);
}

function showSample(index) {
  const [times, stocks] = chart.data;
  if (stocks[index] !== undefined)
    setText(find("#stock-at"), `${clock(times[index] * 1000)} · ${stocks[index]}`);
}

function makeChart() {
  const place = find("#chart");
  const axis = {
    stroke: () => colour("muted"),
    grid: { stroke: () => colour("line"), width: 1 },
    ticks: { show: false },
  };
  return new uPlot(
    {
      width: place.clientWidth,
      height: place.clientHeight,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      padding: [18, 28, 0, 0],
      scales: {
        x: { range: (u, least, most) => [most - SHOWN_SECONDS, most] },
        y: { range: (u, least, most) => [Math.min(0, least), Math.max(5, most * 1.1)] },
      },
      axes: [
        { ...axis, space: 80, values: (u, splits) => splits.map((at) => clock(at * 1000)) },
        {
          ...axis,
          size: 48,
          values: (u, splits) =>
            splits.map((it) => (Number.isInteger(it) ? grouped.format(it) : "")),
        },
      ],
      series: [
        {},
        {
          stroke: () => colour("accent"),
          fill: () => colour("accent-tint"),
          width: 2,
          paths: uPlot.paths.stepped({ align: 1 }),
          points: { show: false },
        },
      ],
      hooks: {
        draw: [drawMarks],
        setCursor: [(u) => showSample(u.cursor.idx ?? u.data[0].length - 1)],
      },
    },
    [[], []],
    place,
  );
}

function drawMarks(u) {
  const { ctx, bbox } = u;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.textAlign = "center";
  ctx.font = `${11 * scale}px system-ui, sans-serif`;
  for (const { at, kind } of marks) {
    const x = u.valToPos(at / 1000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const { colour: name, symbol } = MARKS[kind];
    const lasting = kind === "broken" || kind === "healed";
    ctx.strokeStyle = ctx.fillStyle = colour(name);
    if (lasting) {
      ctx.setLineDash([4 * scale, 3 * scale]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    const height = { purchase: 4, out_of_stock: 4, arrival: 16 }[kind];
    ctx.fillText(
      symbol,
      x,
      lasting ? bbox.top - 4 * scale : bbox.top + bbox.height - height * scale,
    );
  }
  ctx.restore();
}

export function redrawChart() {
  chart?.redraw();
}

export function resizeChart() {
  const { clientWidth: width, clientHeight: height } = find("#chart");
  if (chart && width) chart.setSize({ width, height });
}
