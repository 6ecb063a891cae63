"use strict";
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const boxes = [...document.querySelectorAll(".plot")];
  const drawn = new Set();
  const ranges = {};
  const coarse = matchMedia("(pointer: coarse)").matches;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  try {
    // Packed, the library takes two megabytes instead of five.
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
  } catch (error) {
    boxes.forEach((box) => { box.textContent = "This browser is too old for the plots; the tables do not need them."; });
    return;
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function shapes(section) {
    const kinds = {
      push: { fillcolor: "rgba(208,67,58,0.35)", line: { color: "rgba(208,67,58,0.8)", width: 1 } },
      fallback: { fillcolor: "rgba(212,154,31,0.22)", line: { width: 0 } },
      calm: { fillcolor: "rgba(138,143,152,0.9)", line: { width: 0 } },
    };
    return (data.marks[section] || []).map((mark) => {
      const shape = { xref: "x", yref: "paper", x0: mark.from, x1: mark.to, y0: 0, y1: 1, layer: "below" };
      if (mark.kind === "change") {
        return { ...shape, type: "line", line: { color: colour("--muted"), width: 1, dash: "dot" } };
      }
      return { ...shape, type: "rect", y1: mark.kind === "calm" ? 0.025 : 1, ...kinds[mark.kind] };
    });
  }

  function axis(own) {
    return {
      automargin: true, zeroline: false, gridcolor: colour("--grid"), linecolor: colour("--line"),
      tickfont: { size: 11 }, ...own, title: { font: { size: 11 }, standoff: 6, ...(own || {}).title },
    };
  }

  function layoutOf(box, entry) {
    const own = entry.layout || {};
    const layout = {
      ...own, width: box.clientWidth, autosize: false, margin: { l: 46, r: 12, t: own.showlegend ? 30 : 8, b: 34 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif", size: 12, color: colour("--ink") },
      hovermode: own.barmode || !entry.timed ? "closest" : "x unified",
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink"), size: 12 } },
      dragmode: coarse ? false : "zoom", xaxis: axis(own.xaxis), yaxis: axis(own.yaxis),
      shapes: [...(own.shapes || [])],
    };
    if (entry.timed) {
      layout.xaxis.ticksuffix = " s";
      layout.yaxis.fixedrange = true;
      layout.xaxis.range = ranges[box.dataset.section] || data.ends[box.dataset.section];
      if (!box.id.endsWith("-happened")) layout.shapes.push(...shapes(box.dataset.section));
    }
    return layout;
  }

  async function draw(box) {
    const entry = data.plots[box.id];
    if (!entry) return;
    const first = !drawn.has(box);
    drawn.add(box);
    await Plotly.react(box, entry.data, layoutOf(box, entry), {
      displayModeBar: false, doubleClick: entry.timed ? false : "reset",
    });
    if (first && entry.timed) listen(box);
  }

  // One time range for all plots of a recording; a click shows that moment in the video.
  function listen(box) {
    const section = box.dataset.section;
    const show = (range) => {
      ranges[section] = range;
      boxes.filter((other) => drawn.has(other) && other.dataset.section === section && data.plots[other.id].timed)
        .forEach((other) => Plotly.relayout(other, { "xaxis.range": [...(range || data.ends[section])] }));
    };
    let busy = false;
    const once = (range) => { if (!busy) { busy = true; show(range); setTimeout(() => { busy = false; }, 50); } };
    box.on("plotly_relayout", (change) => {
      if (change["xaxis.range[0]"] !== undefined) once([change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    });
    box.on("plotly_doubleclick", () => once(null));
    box.on("plotly_click", (event) => {
      const video = document.querySelector(`video[data-section="${section}"]`);
      const point = event.points[0];
      if (video) video.currentTime = Math.max(0, point.base !== undefined ? point.base : point.x);
    });
  }

  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      seen.unobserve(entry.target);
      draw(entry.target);
    });
  }, { rootMargin: "600px" });
  boxes.forEach((box) => seen.observe(box));

  const again = () => drawn.forEach((box) => draw(box));
  let waiting = 0;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(again, 150);
  });
  dark.addEventListener("change", again);
  // On paper all plots are there, as wide as its columns. Some browsers print a copy that no script can change: so the
  // page takes the paper's width before.
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("paper");
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    boxes.forEach((box) => draw(box));
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("paper");
    again();
  });
  // For who wants to see all at once, such as a test.
  window.drawAll = () => Promise.all(boxes.map((box) => draw(box)));
  document.documentElement.dataset.ready = "yes";
})();
