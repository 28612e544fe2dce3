// The camera's page. The server sends the frame (JPEG) and its labels (run lengths); the page
// blends them, so that changes of opacity and classes are visible immediately.
// The message format: web/picture_message.py.

const $ = (id) => document.getElementById(id);
const MAX_REQUESTS = 2; // pictures requested ahead, the limit of web/viewers.py
const POINTS = 120;
const RETRY_MAX = 4000; // ms

const PLOTS = [
  { title: "Frames per second", unit: "", digits: 1, scale: 1 },
  { title: "Inference latency", unit: " ms", digits: 1, scale: 1e3 },
  { title: "Age of the result", unit: " ms", digits: 0, scale: 1e3 },
  { title: "Resident memory", unit: " MB", digits: 0, scale: 1e-6 },
];
const PLOTTED = ["frames_per_second", "latency", "age", "rss_bytes"];
const COUNTERS = { captured: "Captured", shown: "Shown", dropped: "Dropped", reconnects: "Reconnects", errors: "Errors" };

// --- the picture -------------------------------------------------------------------------

const canvas = $("picture");
const context = canvas.getContext("2d", { alpha: false });
const layer = document.createElement("canvas"); // the colours of the labels
const layerContext = layer.getContext("2d");

const view = {
  classes: [],
  hidden: new Set(JSON.parse(stored("hidden") ?? "[]")),
  opacity: Number(stored("opacity") ?? 50),
  uncertainty: stored("uncertainty") === "true", // its heat map instead of the classes
  picture: null, // { bitmap, width, height, lengths, ids, header, received }
  pixels: null, // ImageData of the layer, and a 32-bit view of it
};

function stored(key) {
  try { return localStorage.getItem(`segnet-camera.${key}`); } catch { return null; }
}

function store(key, value) {
  try { localStorage.setItem(`segnet-camera.${key}`, value); } catch { /* private mode */ }
}

async function decode(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const lengthsAt = 4 + size;
  const idsAt = lengthsAt + 2 * header.runs;
  const heatAt = idsAt + header.runs;
  const jpegAt = heatAt + header.uncertainty;
  return {
    header,
    lengths: new Uint16Array(buffer.slice(lengthsAt, idsAt)),
    ids: new Uint8Array(buffer, idsAt, header.runs),
    heat: header.uncertainty ? await heatLevels(new Uint8Array(buffer, heatAt, header.uncertainty)) : null,
    bitmap: await createImageBitmap(new Blob([new Uint8Array(buffer, jpegAt)], { type: "image/jpeg" })),
    received: performance.now(),
  };
}

// Return the RGBA pixels of the uncertainty's grey levels.
async function heatLevels(bytes) {
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  const plane = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  plane.drawImage(bitmap, 0, 0);
  const levels = plane.getImageData(0, 0, bitmap.width, bitmap.height).data;
  bitmap.close();
  return levels;
}

// The colours of segnet_deploy/overlay.py: black, purple, red, yellow, white.
const HEAT = (() => {
  const stops = [[0, 0, 0], [90, 0, 80], [220, 40, 50], [255, 170, 40], [255, 255, 255]];
  return Uint32Array.from({ length: 256 }, (_, level) => {
    const at = Math.min(3, Math.floor(level / 64));
    const part = (level - 64 * at) / (at === 3 ? 63 : 64);
    const [r, g, b] = stops[at].map((low, i) => Math.round(low + part * (stops[at + 1][i] - low)));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
})();

function showPicture(picture) {
  const { width, height } = picture.header;
  const isFirst = view.picture === null;
  view.picture?.bitmap.close();
  view.picture = picture;
  if (layer.width !== width || layer.height !== height || view.pixels === null) {
    for (const plane of [canvas, layer]) Object.assign(plane, { width, height });
    const data = layerContext.createImageData(width, height);
    view.pixels = { data, words: new Uint32Array(data.data.buffer) };
  }
  paintLayer();
  blend();
  $("snapshot").disabled = false;
  if (isFirst) refresh();
}

// Paint each run in its colour; hidden classes and ids without a colour stay transparent.
function paintLayer() {
  if (view.picture === null) return;
  const colours = new Uint32Array(256);
  view.classes.forEach(({ name, colour: [r, g, b] }, id) => {
    colours[id] = view.hidden.has(name) ? 0 : ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
  const { lengths, ids } = view.picture;
  const { data, words } = view.pixels;
  const counts = new Uint32Array(256);
  for (let run = 0, at = 0; run < ids.length; run++) {
    const end = at + lengths[run];
    words.fill(colours[ids[run]], at, end);
    counts[ids[run]] += lengths[run];
    at = end;
  }
  view.shares = counts;
  const { heat } = view.picture;
  $("uncertainty-switch").hidden = heat === null;
  if (heat !== null && view.uncertainty) {
    for (let i = 0; i < words.length; i++) words[i] = HEAT[heat[4 * i]];
  }
  layerContext.putImageData(data, 0, 0);
}

function blend() {
  if (view.picture === null) return;
  context.globalAlpha = 1;
  context.drawImage(view.picture.bitmap, 0, 0);
  context.globalAlpha = view.opacity / 100;
  context.drawImage(layer, 0, 0);
}

function saveSnapshot() {
  blend();
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    link.download = `segnet-${time}-${view.picture.header.sequence}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}

// --- legend and opacity --------------------------------------------------------------------

function buildLegend() {
  $("legend").replaceChildren(...view.classes.map(({ name, colour }) => {
    const box = element("input", { type: "checkbox", checked: !view.hidden.has(name) });
    box.addEventListener("change", () => setHidden(box.checked ? [] : [name], box.checked ? [name] : []));
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = `rgb(${colour.join(" ")})`;
    const label = element("label", {}, box, swatch,
      element("span", { className: "class", textContent: name }),
      element("span", { className: "share" }));
    return element("li", {}, label);
  }));
}

function setHidden(hide, show) {
  hide.forEach((name) => view.hidden.add(name));
  show.forEach((name) => view.hidden.delete(name));
  store("hidden", JSON.stringify([...view.hidden]));
  document.querySelectorAll("#legend input").forEach((box, id) => {
    box.checked = !view.hidden.has(view.classes[id].name);
  });
  paintLayer();
  blend();
}

function setOpacity(value) {
  view.opacity = value;
  $("opacity").value = value;
  $("opacity-value").textContent = `${value} %`;
  store("opacity", value);
  blend();
}

function setUncertainty(on) {
  view.uncertainty = on;
  $("uncertainty").checked = on;
  store("uncertainty", on);
  paintLayer();
  blend();
}

// Show the share of each class in the legend and in the picture's description, twice per second.
function describePicture() {
  if (view.picture === null || !view.shares) return;
  const total = view.picture.header.width * view.picture.header.height;
  const percent = view.classes.map((_, id) => (100 * view.shares[id]) / total);
  document.querySelectorAll("#legend .share").forEach((item, id) => {
    setText(item, percent[id] ? `${percent[id] < 1 ? "<1" : Math.round(percent[id])} %` : "");
  });
  const order = percent.map((_, id) => id).sort((a, b) => percent[b] - percent[a]);
  const largest = order.slice(0, 3).filter((id) => percent[id] >= 1)
    .map((id) => `${Math.round(percent[id])} % ${view.classes[id].name}`);
  canvas.setAttribute("aria-label", `Camera picture with coloured classes: ${largest.join(", ")}`);
}

// --- state, counters, plots ----------------------------------------------------------------

const samples = [];
let status = null;

function showState(state, notice = "") {
  const badge = $("state");
  if (badge.dataset.state !== state) {
    badge.dataset.state = state;
    badge.textContent = state;
  }
  $("frame").dataset.stale = String(view.picture === null || state !== "live");
  setText($("notice"), notice);
}

function showStatus(next) {
  status = next;
  setText($("source"), status.source);
  $("source").title = status.source;
  document.title = `SegNet camera: ${status.state}`;
  showState(status.state, noticeFor(status.state));
  const rows = Object.entries(COUNTERS).map(([key, title]) => [title, status[key].toLocaleString("en")]);
  rows.push(["Uptime", duration(status.uptime)]);
  const places = document.querySelectorAll("#counters dd");
  if (places.length !== rows.length) {
    $("counters").replaceChildren(...rows.map(([title, value]) => element("div", {},
      element("dt", { textContent: title }), element("dd", { textContent: value }))));
  } else {
    rows.forEach(([, value], row) => setText(places[row], value));
  }
}

function refresh() {
  describePicture();
  if (status?.state === $("state").dataset.state) showState(status.state, noticeFor(status.state));
}

function noticeFor(state) {
  if (state === "live") return view.picture === null ? "Waiting for the first picture" : "";
  const age = view.picture === null ? null
    : view.picture.header.age + (performance.now() - view.picture.received) / 1000;
  const old = age === null ? "" : `; this picture is ${duration(age)} old`;
  const messages = {
    connecting: "Connecting to the camera",
    stalled: "No frames from the camera",
    reconnecting: "Reconnecting to the camera",
    ended: "The source has ended",
  };
  return (messages[state] ?? state) + old;
}

function duration(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function buildPlots() {
  $("plots").replaceChildren(...PLOTS.map(({ title }) => {
    const picture = svg("svg", { viewBox: `0 0 ${POINTS - 1} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: unknown` },
      svg("path", { class: "area" }), svg("path", { class: "curve" }));
    return element("div", { className: "plot" }, element("h2", { textContent: title }),
      element("p", { className: "now", textContent: "–" }), picture,
      element("p", { className: "range", textContent: " " }));
  }));
}

function drawPlots() {
  document.querySelectorAll(".plot").forEach((place, row) => {
    const { title, unit, digits, scale } = PLOTS[row];
    const values = samples.map((sample) => (sample[row] === null ? null : sample[row] * scale));
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return;
    const text = (value) => value.toFixed(digits) + unit;
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const now = values[values.length - 1];
    setText(place.querySelector(".now"), now === null ? "–" : text(now));
    setText(place.querySelector(".range"), `${text(low)} to ${text(high)}`);
    const [curve, area] = curves(values, low, high);
    place.querySelector(".curve").setAttribute("d", curve);
    place.querySelector(".area").setAttribute("d", area);
    place.querySelector("svg").setAttribute("aria-label",
      `${title}: now ${now === null ? "unknown" : text(now)}, from ${text(low)} to ${text(high)}`);
  });
}

// The newest value is at the right edge. The scale spans at least a tenth of the value, so that
// noise does not look like a change.
function curves(values, low, high) {
  const span = Math.max(high - low, high * 0.1, 1e-9);
  const base = Math.max(0, (low + high - span) / 2);
  const points = [];
  values.forEach((value, i) => {
    if (value === null) return;
    const x = POINTS - values.length + i;
    points.push(`${x} ${(96 - (92 * (value - base)) / span).toFixed(1)}`);
  });
  const curve = `M${points.join("L")}`;
  const first = points[0].split(" ")[0], last = points[points.length - 1].split(" ")[0];
  return [curve, `${curve}L${last} 100L${first} 100Z`];
}

function addSample(sample) {
  samples.push(sample);
  if (samples.length > POINTS) samples.splice(0, samples.length - POINTS);
}

// --- the connection -------------------------------------------------------------------------

let socket = null;
let inFlight = 0;
let retry = 250;

function requestPictures() {
  while (!document.hidden && socket?.readyState === WebSocket.OPEN && inFlight < MAX_REQUESTS) {
    inFlight += 1;
    socket.send("next");
  }
}

function connect() {
  const address = new URL("live", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = "";
  const current = socket = new WebSocket(address);
  current.binaryType = "arraybuffer";
  current.onopen = () => { inFlight = 0; requestPictures(); };
  current.onmessage = ({ data }) => {
    if (typeof data === "string") handleText(JSON.parse(data));
    else handlePicture(current, data);
  };
  current.onclose = ({ code, reason }) => {
    if (current === socket) reconnect(code, reason);
  };
}

async function handlePicture(from, buffer) {
  try {
    const picture = await decode(buffer);
    if (from === socket && picture.header.sequence !== undefined) showPicture(picture);
  } finally {
    if (from === socket) { inFlight -= 1; requestPictures(); }
  }
}

function handleText(message) {
  if (message.type === "hello") {
    retry = 250;
    if (JSON.stringify(message.classes) !== JSON.stringify(view.classes)) {
      view.classes = message.classes;
      buildLegend();
    }
    samples.length = 0;
    message.history.forEach(addSample);
  } else {
    addSample(PLOTTED.map((name) => message.status[name]));
  }
  showStatus(message.status);
  drawPlots();
}

async function reconnect(code, reason) {
  const ended = status?.state === "ended" ? "The camera loop has ended" : "No connection to the server";
  showState("offline", reason || `${ended}; trying again`);
  document.title = "SegNet camera: offline";
  const refused = await fetch("healthz").then((answer) => answer.status === 401, () => false);
  if (refused) showState("offline", "The token is no longer valid: open this page again with ?token=…");
  setTimeout(connect, retry * (0.75 + Math.random() / 2));
  retry = Math.min(RETRY_MAX, retry * 2);
}

// --- elements, and the start ------------------------------------------------------------------

function element(name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  node.append(...children);
  return node;
}

function setText(item, text) {
  if (item.textContent !== text) item.textContent = text;
}

history.replaceState(null, "", location.pathname); // remove the token from the address; it is in a cookie
$("opacity").addEventListener("input", (event) => setOpacity(Number(event.target.value)));
$("uncertainty").addEventListener("change", (event) => setUncertainty(event.target.checked));
$("all").addEventListener("click", () => setHidden([], view.classes.map(({ name }) => name)));
$("none").addEventListener("click", () => setHidden(view.classes.map(({ name }) => name), []));
$("snapshot").addEventListener("click", saveSnapshot);
document.addEventListener("visibilitychange", requestPictures);
setInterval(refresh, 500);
setOpacity(view.opacity);
setUncertainty(view.uncertainty);
buildPlots();
connect();
