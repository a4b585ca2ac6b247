"use strict";
/* Draws the data of the page with uPlot. Text from outside goes into the page as text alone. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const charts = [];
  let view = data.cells, whole = false;

  const decoded = (list, digits) => {
    const unit = 10 ** digits;
    let last = 0;
    return list.map((step) => (step === null ? null : (last += step) / unit));
  };
  const timelines = data.timelines.map((list) => decoded(list, 3));

  const element = (kind, text, parent, name) => {
    const made = document.createElement(kind);
    if (text) made.textContent = text;
    if (name) made.className = name;
    if (parent) parent.append(made);
    return made;
  };
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const two = (n) => String(n).padStart(2, "0");
  const clock = (s) => {
    if (s === null || s === undefined) return "";
    if (!data.dated) return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(Math.floor(s) % 60)}`;
    const d = new Date(s * 1000);
    return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  };
  const shown = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "\u2212"));

  /* -- the axis of time, the same for all -------------------------------------------------- */
  const CALENDAR = [
    [3600 * 24 * 365, "{YYYY}", null, null, null, null, null, null, 1],
    [3600 * 24 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [3600 * 24, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [3600, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [0.001, ":{ss}.{fff}", "\n{D} {MMM} {YYYY} {HH}:{mm}", null, "\n{D} {MMM} {HH}:{mm}", null, "\n{HH}:{mm}", null, 1],
  ];
  const timeAxis = () => ({
    stroke: () => colour("soft"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { show: false },
    font: "11px system-ui, sans-serif", size: 38, values: data.dated ? CALENDAR : (u, marks) => marks.map(clock),
  });
  let moving = false;
  const move = (from, to) => {
    if (moving) return;
    moving = true;
    for (const each of charts) each.setScale("x", { min: from, max: to });
    moving = false;
    root.dataset.from = String(from);
    root.dataset.to = String(to);
  };
  const all = () => move(data.start, data.end);
  const cursor = {
    sync: { key: "packs", setSeries: false }, drag: { x: true, y: false, uni: 20 }, y: false,
    bind: { dblclick: () => () => { all(); return null; } },
  };
  const zoomed = (u, key) => { if (key === "x") move(u.scales.x.min, u.scales.x.max); };

  /* -- what is drawn behind and before the curves ------------------------------------------- */
  const stretch = (u, band) => {
    const left = u.valToPos(Math.max(band[0], u.scales.x.min), "x", true);
    const right = u.valToPos(Math.min(band[1], u.scales.x.max), "x", true);
    return [left, Math.max(right - left, 2)];
  };
  const inside = (u, band) => band[1] >= u.scales.x.min && band[0] <= u.scales.x.max;
  const behind = (panel) => (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.globalAlpha = 0.12;
    for (const lane of data.lanes) {
      if (lane.rank < 2 || (panel.pack && lane.pack !== panel.pack)) continue;
      ctx.fillStyle = colour(lane.severity);
      for (const band of lane.bands) if (inside(u, band)) {
        const [x, width] = stretch(u, band);
        ctx.fillRect(x, bbox.top, width, bbox.height);
      }
    }
    ctx.restore();
  };
  const before = (panel) => (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineWidth = uPlot.pxRatio;
    ctx.setLineDash([6 * uPlot.pxRatio, 4 * uPlot.pxRatio]);
    ctx.strokeStyle = colour("limit");
    for (const limit of panel.limits) {
      const y = u.valToPos(limit.value, "y", true);
      ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
    }
    ctx.setLineDash([2 * uPlot.pxRatio, 3 * uPlot.pxRatio]);
    for (const [time, , severity, pack] of data.markers) {
      if (time < u.scales.x.min || time > u.scales.x.max || (panel.pack && pack && pack !== panel.pack)) continue;
      const x = u.valToPos(time, "x", true);
      ctx.strokeStyle = colour(severity);
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    }
    ctx.restore();
  };

  /* -- panels ------------------------------------------------------------------------------ */
  const range = (panel) => (u, low, high) => {
    if (low === null || low === undefined) { low = 0; high = 1; }
    if (panel.zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
    if (high - low < panel.least) { const middle = (low + high) / 2; low = middle - panel.least / 2; high = middle + panel.least / 2; }
    const near = (high - low) / 2, [bottom, top] = [low, high];
    for (const limit of panel.limits) if (whole || (limit.value >= bottom - near && limit.value <= top + near)) {
      low = Math.min(low, limit.value); high = Math.max(high, limit.value);
    }
    const room = (high - low) * 0.05 || 0.5;
    return [low - room, high + room];
  };
  const DASHES = [[], [8, 3], [2, 3], [9, 3, 2, 3]];
  const alone = (u, place, show, gaps) => {
    const values = u.data[place], found = [];
    const known = (n) => values[n] !== null && values[n] !== undefined;
    const near = (n, step) => { for (n += step; n >= 0 && n < values.length; n += step) { if (values[n] === null) return false; if (values[n] !== undefined) return true; } return false; };
    const [first, last] = u.series[0].idxs;
    for (let n = first; n <= last; n++) if (known(n) && !near(n, -1) && !near(n, 1)) found.push(n);
    return found;
  };
  const series = (panel, curve, place) => ({
    label: curve.title, spanGaps: false, width: curve.limit ? 1 : 1.4,
    stroke: () => colour(curve.limit ? "limit" : `c${place % 8}`),
    dash: curve.limit ? [3, 3] : DASHES[Math.floor(place / 8) % 4],
    points: { show: true, size: 3, filter: alone, fill: () => colour(`c${place % 8}`) },
    value: (u, value) => shown(value, panel.digits),
  });
  const joined = (panel) => {
    const used = [...new Set(panel.curves.map((curve) => curve.line))];
    const tables = used.map((line) => [timelines[line], ...panel.curves.filter((c) => c.line === line).map((c) => (c.decoded ??= decoded(c.values, panel.digits)))]);
    const order = used.flatMap((line) => panel.curves.filter((c) => c.line === line));
    return [order, tables.length === 1 ? tables[0] : uPlot.join(tables)];
  };
  const place = document.getElementById("panels");
  const wide = () => Math.max(280, place.clientWidth);
  const drawPanel = (panel) => {
    const section = element("section", "", place, panel.curves.length > 1 ? "panel" : "panel single");
    if (panel.view) section.dataset.view = panel.view;
    element("h2", `${panel.title}, ${panel.unit}`, section);
    if (panel.limits.length) element("p", `Limits: ${panel.limits.map((l) => `${l.title} ${shown(l.value, panel.digits)} ${panel.unit}`).join(" · ")}`, section, "limits");
    const box = element("div", "", section);
    const [curves, table] = joined(panel);
    const chart = new uPlot({
      width: wide(), height: curves.length > 1 ? 250 : 180, cursor,
      scales: { x: { time: data.dated, range: (u, low, high) => [low, high] }, y: { range: range(panel) } },
      axes: [timeAxis(), {
        stroke: () => colour("soft"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { show: false },
        font: "11px system-ui, sans-serif", size: 58, values: (u, marks, a, b, step) => marks.map((m) => shown(m, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))),
      }],
      series: [{ label: "Time", value: (u, value) => (value ? clock(value) : "–") }, ...curves.map((curve, n) => series(panel, curve, n))],
      hooks: { setScale: [zoomed], drawClear: [behind(panel)], draw: [before(panel)] },
    }, table, box);
    charts.push(chart);
    section.chart = chart;
  };

  const drawLanes = () => {
    if (!data.lanes.length) return;
    const section = element("section", "", place, "panel lanes");
    element("h2", "What happened", section);
    const box = element("div", "", section), said = element("p", "\u00a0", section, "said");
    const many = data.packs.length > 1, height = 34;
    const at = (u, time) => data.lanes.flatMap((lane) => lane.bands.filter((band) => band[0] <= time && time <= band[1]).map((band) => `${many ? `${lane.pack}: ` : ""}${band[2] || lane.title}`));
    const draw = (u) => {
      const { ctx, bbox } = u, row = bbox.height / data.lanes.length;
      ctx.save();
      ctx.font = `${11 * uPlot.pxRatio}px system-ui, sans-serif`;
      ctx.textBaseline = "middle";
      data.lanes.forEach((lane, n) => {
        const top = bbox.top + row * n;
        ctx.fillStyle = colour("ink");
        ctx.textAlign = "left";
        ctx.fillText(many ? `${lane.pack}: ${lane.title}` : lane.title, bbox.left, top + row * 0.3, bbox.width);
        ctx.fillStyle = colour("grid");
        ctx.fillRect(bbox.left, top + row * 0.72, bbox.width, uPlot.pxRatio);
        ctx.fillStyle = colour(lane.severity);
        for (const band of lane.bands) if (inside(u, band)) {
          const [x, width] = stretch(u, band);
          ctx.fillRect(x, top + row * 0.58, width, row * 0.3);
        }
      });
      ctx.restore();
    };
    const chart = new uPlot({
      width: wide(), height: height * data.lanes.length + 46, cursor, legend: { show: false },
      scales: { x: { time: data.dated, range: (u, low, high) => [low, high] }, y: { range: [0, 1] } },
      axes: [timeAxis(), { size: 58, values: () => [], grid: { show: false }, ticks: { show: false } }],
      series: [{}, { show: false }],
      hooks: {
        setScale: [zoomed], draw: [draw],
        setCursor: [(u) => {
          const left = u.cursor.left;
          said.textContent = left < 0 ? "\u00a0" : at(u, u.posToVal(left, "x")).join(" · ") || "\u00a0";
        }],
      },
    }, [[data.start, data.end], [null, null]], box);
    charts.push(chart);
    section.chart = chart;
  };

  const listEvents = () => {
    const rows = data.markers.map((m) => [m[0], m[1], m[3]]);
    for (const lane of data.lanes) for (const band of lane.bands) rows.push([band[0], `${band[2] || lane.title}, until ${clock(band[1])}${band[3] ? " and longer" : ""}`, lane.pack]);
    if (!rows.length) return;
    rows.sort((a, b) => a[0] - b[0]);
    const details = element("details", "", document.getElementById("list"));
    element("summary", `All events (${rows.length})`, details);
    const table = element("table", "", details), body = element("tbody", "", table);
    for (const [time, text, pack] of rows.slice(-1000)) {
      const row = element("tr", "", body);
      element("td", clock(time), row, "when");
      if (data.packs.length > 1) element("td", pack, row);
      element("td", text, row);
    }
    if (rows.length > 1000) element("p", "These are the newest 1000.", details);
  };

  /* -- the page ---------------------------------------------------------------------------- */
  const choose = (wanted) => {
    view = wanted;
    for (const section of document.querySelectorAll("section[data-view]")) section.hidden = section.dataset.view !== view;
    for (const button of document.querySelectorAll("button[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    fit();
  };
  const fit = (width) => { for (const each of charts) each.setSize({ width: width || wide(), height: each.height }); };
  const redraw = () => { for (const each of charts) each.redraw(false, true); };

  for (const panel of data.panels) drawPanel(panel);
  drawLanes();
  listEvents();
  const controls = document.getElementById("controls");
  const button = (text, act) => { const made = element("button", text, controls); made.type = "button"; made.addEventListener("click", act); return made; };
  button("Whole time", all);
  const views = new Set(data.panels.map((panel) => panel.view).filter(Boolean));
  if (views.size > 1) for (const [name, text] of [["deviation", "Cells: from their mean"], ["voltage", "Cells: voltage"]]) button(text, () => choose(name)).dataset.view = name;
  if (data.panels.some((panel) => panel.limits.length)) {
    const toggle = button("Limits on the scale", () => {
      whole = !whole;
      toggle.setAttribute("aria-pressed", String(whole));
      for (const each of charts) each.redraw(true, true), each.setScale("x", { min: each.scales.x.min, max: each.scales.x.max });
    });
    toggle.setAttribute("aria-pressed", "false");
  }
  document.getElementById("span").textContent = `${clock(data.start)} to ${clock(data.end)}${data.dated ? ", by the clock of this device" : " from the beginning"}`;
  if (views.size) choose(view);
  all();
  addEventListener("resize", () => fit());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { root.dataset.theme = "print"; fit(700); redraw(); });
  addEventListener("afterprint", () => { delete root.dataset.theme; fit(); redraw(); });
  root.dataset.ready = String(charts.length);
})();
