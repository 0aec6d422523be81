// Charts, sorting and searching of the page. Everything it shows is in the page already: nothing is fetched.
"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;

  // --- tables ---------------------------------------------------------------------------------------------------

  // What is not known stands at the end, both ways.
  function value(row, column, isNumber) {
    const cell = row.cells[column];
    if (!isNumber) return cell.textContent === "-" ? null : cell.textContent;
    return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  }

  function sortBy(table, column, descending) {
    const heads = [...table.tHead.rows[0].cells];
    const isNumber = heads[column].classList.contains("n");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, column, isNumber), row]);
    const words = new Intl.Collator(undefined, { numeric: true });
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = isNumber ? a - b : words.compare(a, b);
      return descending ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  function sortable(table) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        // Of numbers one mostly wants the largest, of words the first.
        const descending = now ? now === "ascending" : head.classList.contains("n");
        sortBy(table, column, descending);
      });
    });
  }

  function searchable(section) {
    const input = section.querySelector("input");
    const count = section.querySelector(".count");
    const rows = [...section.querySelector("tbody").rows];
    const all = count.textContent;
    input.hidden = false;
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      let shown = 0;
      for (const row of rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = wanted ? `${shown} of ${rows.length}` : all;
    });
  }

  for (const section of document.querySelectorAll("section.table")) {
    sortable(section.querySelector("table"));
    searchable(section);
  }

  // --- charts ---------------------------------------------------------------------------------------------------

  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const known = (format) => (self, raw) => (raw === null || raw === undefined ? "-" : format(raw));
  const aSecond = (counts) => counts.map((count) => count / data.every_s);
  const percent = (share) => exact.format(share * 100) + "%";

  // A line from top to bottom where something failed or was lost.
  function marks(self) {
    const { ctx, bbox } = self;
    ctx.save();
    for (const [counts, name] of [[data.lost, "lost"], [data.failed, "failed"]]) {
      ctx.fillStyle = colour(name);
      counts.forEach((count, at) => {
        const x = self.valToPos(data.time[at], "x", true);
        if (count === 0 || x < bbox.left || x > bbox.left + bbox.width) return;
        ctx.globalAlpha = 0.35;
        ctx.fillRect(x - 1, bbox.top, 2, bbox.height);
        ctx.globalAlpha = 1;
        ctx.fillRect(x - 3, bbox.top, 6, 6);
      });
    }
    ctx.restore();
  }

  const CHARTS = [
    {
      title: "Created and ended a second", format: (rate) => exact.format(rate) + "/s",
      lines: [["created", "created", aSecond(data.created)], ["ended", "ended", aSecond(data.ended)]],
    },
    {
      title: "TIME_WAIT sockets that live, at most", format: (count) => exact.format(count),
      lines: [["live", "live", data.live]],
    },
    {
      title: "Pressure: ephemeral ports of the fullest tuple that TIME_WAIT sockets hold, at most", format: percent,
      axis: percent, lines: [["pressure", "pressure", data.pressure]],
    },
  ];

  const cursor = { sync: { key: "time" }, drag: { x: true, y: false } };

  function axis(format) {
    const ink = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } };
    return format ? { ...ink, size: 64, values: (self, ticks) => ticks.map(format) } : ink;
  }

  function draw(chart, place, width, height) {
    const unseen = { label: "", show: true, width: 0, points: { show: false }, scale: "hidden" };
    const series = [
      {},
      ...chart.lines.map(([label, name]) => ({
        label, stroke: colour(name), width: 1.5, points: { show: false }, value: known(chart.format),
        fill: chart.lines.length === 1 ? colour(name) + "22" : undefined,
      })),
      { ...unseen, label: "failed", stroke: colour("failed"), value: known((count) => exact.format(count)) },
      { ...unseen, label: "lost", stroke: colour("lost"), value: known((count) => exact.format(count)) },
    ];
    const options = {
      width, height, series, cursor,
      scales: { y: { range: (self, low, high) => [0, (high || 1) * 1.05] }, hidden: { range: [0, 1] } },
      axes: [axis(null), axis(chart.axis || ((value) => short.format(value)))],
      hooks: { draw: [marks] },
    };
    const values = [data.time, ...chart.lines.map(([, , counts]) => counts), data.failed, data.lost];
    return new uPlot(options, values, place);
  }

  const places = CHARTS.map((chart) => {
    const [figure, caption, place] = ["figure", "figcaption", "div"].map((name) => document.createElement(name));
    caption.textContent = chart.title;
    figure.append(caption, place);
    document.getElementById("charts").append(figure);
    return place;
  });
  let plots = [];

  function redraw(width, height) {
    plots.forEach((plot) => plot.destroy());
    const room = width || places[0].clientWidth;
    plots = CHARTS.map((chart, at) => draw(chart, places[at], room, height || 190));
  }

  // --- theme, size, paper ---------------------------------------------------------------------------------------

  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  let theme = 0;

  function dress(name) {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
  }

  button.hidden = false;
  document.getElementById("hint").hidden = false;
  button.addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    button.textContent = "Theme: " + themes[theme];
    dress(themes[theme]);
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  addEventListener("resize", () => {
    const width = places[0].clientWidth;
    plots.forEach((plot) => plot.setSize({ width, height: plot.height }));
  });
  addEventListener("beforeprint", () => {
    // Nobody can open them on paper.
    document.querySelectorAll("details").forEach((folded) => { folded.open = true; });
    dress("light");
    redraw(690, 150);
  });
  addEventListener("afterprint", () => {
    dress(themes[theme]);
    redraw();
  });
  redraw();
})();
