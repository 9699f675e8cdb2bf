"use strict";
(async () => {
  const root = document.documentElement;
  const { plots, choosers } = JSON.parse(document.getElementById("figures").textContent);
  const MOST_ROWS = 500, HEIGHT = 300;

  // --- light and dark: what the system says, until the button says otherwise
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const dark = () => (chosen === null ? system.matches : chosen);
  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function themed(layout) {
    const narrow = innerWidth < 600;
    const ink = color("--ink"), grid = color("--grid");
    const axis = (given) => ({ gridcolor: grid, zerolinecolor: color("--line"), linecolor: color("--line"), tickcolor: color("--line"), automargin: true, ...given });
    const fine = matchMedia("(pointer: fine)").matches;
    return {
      height: HEIGHT, margin: { l: 52, r: 12, t: 12, b: 44 },
      ...layout, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, ...layout.legend },
      autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: fine ? "zoom" : false,
      font: { color: ink, size: narrow ? 11 : 12, family: getComputedStyle(document.body).fontFamily },
      hoverlabel: { bgcolor: color("--page"), bordercolor: color("--line"), font: { color: ink } },
      xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
    };
  }

  // --- Plotly lies in this page, compressed
  async function unpacked() {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  // dark blue on black is hard to see
  const lit = (data) => (dark() ? JSON.parse(JSON.stringify(data).replaceAll("#0072B2", "#56B4E9")) : data);
  // on a phone the scale of colours lies above: beside it would leave no room for what it explains
  const SCALE = 60; // pixels it takes there
  const above = (bar) => ({ ...bar, orientation: "h", x: 0.5, y: 1.02, yanchor: "bottom", title: { ...bar.title, side: "top" } });
  function fitting({ data, layout }) {
    const bars = data.some((trace) => trace.colorbar || (trace.marker && trace.marker.colorbar));
    if (innerWidth >= 600 || !bars) return { data, layout };
    const moved = data.map((trace) => {
      if (trace.colorbar) return { ...trace, colorbar: above(trace.colorbar) };
      if (trace.marker && trace.marker.colorbar) return { ...trace, marker: { ...trace.marker, colorbar: above(trace.marker.colorbar) } };
      return trace;
    });
    return { data: moved, layout: { ...layout, height: (layout.height || HEIGHT) + SCALE } };
  }
  function draw(name) {
    const { data, layout } = fitting(plots[name]);
    return Plotly.react(name, lit(data), themed(layout), { responsive: true, displaylogo: false, displayModeBar: false });
  }

  async function setTheme() {
    root.dataset.theme = dark() ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark()));
    if (window.Plotly) for (const name of Object.keys(plots)) await draw(name);
  }

  // --- choosers: an option's figures take the place of those of the same name
  async function choose(name, number) {
    const option = choosers[name][number];
    const text = document.getElementById(name + "-text");
    if (text) text.textContent = option.text;
    for (const [figure, { text, plot }] of Object.entries(option.figures)) {
      plots[figure] = plot;
      document.getElementById(figure + "-text").textContent = text;
      fill(document.querySelector(`details[data-of="${figure}"]`));
      if (window.Plotly) await draw(figure);
    }
  }

  // --- the numbers of a figure as a table, made when it is opened
  const plain = (value) => {
    if (value === null || value === undefined) return "";
    return String(value).replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  };
  const named = (axis, other) => plain((axis && axis.title && axis.title.text) || other);

  function rowsOf({ data, layout }) {
    const heat = data.find((trace) => trace.type === "heatmap");
    if (heat) return { head: [named(layout.yaxis, "row"), ...heat.x], rows: heat.z.map((row, i) => [heat.y[i], ...row]) };
    const lying = data.some((trace) => trace.orientation === "h");
    const [along, up] = lying ? ["y", "x"] : ["x", "y"];
    const drawn = data.filter((trace) => trace.name);
    const shared = drawn.every((trace) => trace[along].length === drawn[0][along].length && trace[along].every((x, i) => x === drawn[0][along][i]));
    const label = named(layout[along + "axis"], "slice"), value = named(layout[up + "axis"], "value");
    if (shared) {
      const mapped = drawn[0].text && drawn[0].marker && Array.isArray(drawn[0].marker.color);
      if (mapped) return { head: ["slice", label, value, drawn[0].name], rows: drawn[0].x.map((x, i) => [drawn[0].text[i], x, drawn[0].y[i], drawn[0].marker.color[i]]) };
      return { head: [label, ...drawn.map((trace) => trace.name)], rows: drawn[0][along].map((x, i) => [x, ...drawn.map((trace) => trace[up][i])]) };
    }
    return { head: ["", label, value], rows: drawn.flatMap((trace) => trace[along].map((x, i) => [trace.name, x, trace[up][i]])) };
  }

  function fill(details) {
    const place = details.querySelector(".numbers");
    place.replaceChildren();
    if (!details.open) return;
    const { head, rows } = rowsOf(plots[details.dataset.of]);
    const table = document.createElement("table");
    const caption = table.createCaption();
    caption.textContent = rows.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${rows.length} rows` : `${rows.length} rows`;
    const top = table.createTHead().insertRow();
    for (const cell of head) {
      const th = document.createElement("th");
      th.scope = "col";
      th.textContent = plain(cell);
      top.append(th);
    }
    const body = table.createTBody();
    for (const row of rows.slice(0, MOST_ROWS)) {
      const line = body.insertRow();
      for (const cell of row) line.insertCell().textContent = plain(cell);
    }
    place.append(table);
  }

  for (const [name, options] of Object.entries(choosers)) for (const [figure, { plot }] of Object.entries(options[0].figures)) plots[figure] = plot;
  for (const list of document.querySelectorAll("select[data-chooser]")) {
    list.selectedIndex = 0;
    list.addEventListener("change", () => choose(list.dataset.chooser, list.selectedIndex));
  }
  for (const step of document.querySelectorAll("button[data-step]")) {
    step.addEventListener("click", () => {
      const list = document.getElementById(step.dataset.of + "-choice");
      list.selectedIndex = (list.selectedIndex + Number(step.dataset.step) + list.length) % list.length;
      choose(step.dataset.of, list.selectedIndex);
    });
  }
  for (const details of document.querySelectorAll("details[data-of]")) details.addEventListener("toggle", () => fill(details));
  button.addEventListener("click", () => { chosen = !dark(); setTheme(); });
  system.addEventListener("change", setTheme);
  setTheme();

  try {
    await unpacked();
    await setTheme();
    root.dataset.drawn = "yes";
  } catch (problem) {
    const trouble = document.getElementById("trouble");
    trouble.hidden = false;
    trouble.textContent = `The figures could not be drawn (${problem.message}); they need a browser of 2023 or later. The numbers are below each of them.`;
  }
})();
