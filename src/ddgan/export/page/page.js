// The page: controls, a drawing, and the images at every step. The model is in worker.js.
//
// Programs and tests use `ddgan.ready`, `ddgan.sample`, `ddgan.stroke` and `ddgan.inpaint`, see below.
// This is no module, so that it also runs in a page opened as a file, and can say that it needs a server.
"use strict";

const MOST_IMAGES = 256;
const MOST_BYTES = 64 * 2 ** 20; // of all images at all steps
const PATIENCE = 8000; // milliseconds that the default number of images may take
const MOST_UNDONE = 30;
const COLORS = [
  "#000000", "#ffffff", "#9b9b9b", "#e53935", "#fb8c00", "#fdd835", "#7cb342",
  "#00897b", "#29b6f6", "#1e4fd8", "#8e24aa", "#f48fb1", "#795548",
];
const GREYS = ["#000000", "#303030", "#606060", "#909090", "#c0c0c0", "#ffffff"];

const $ = (id) => document.getElementById(id);
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

// -------------------------------------------------------------------------------------------- problems

// What went wrong in words, and what helps: [title, explanation].
const PROBLEMS = {
  file: () => [
    "This page needs a web server",
    "It was opened as a file, and browsers do not let files load a model. In the folder of the page, run `python -m http.server`, then open `http://localhost:8000`.",
  ],
  noWebAssembly: () => [
    "This browser has no WebAssembly",
    "The model runs on it. Use a current Chrome, Edge, Firefox or Safari; a lockdown mode or an extension may have switched it off.",
  ],
  old: () => [
    "This browser is too old for the page",
    "Use a current Chrome, Edge, Firefox or Safari (16.4 or newer).",
  ],
  missing: ({ name, status }) => [
    `The file ${name} is missing`,
    `The server ${status ? `answered ${status}` : "did not send it as a script"}. Copy the whole folder that ddgan export wrote to the server, or export again.`,
  ],
  damaged: ({ name, bytes, size }) => [
    `The file ${name} is damaged`,
    `${bytes === undefined ? "It cannot be unpacked." : `It has ${plural(bytes, "byte")} instead of ${size.toLocaleString("en")}.`} Upload it again, as it is: not as a pointer of Git LFS, and in binary mode.`,
  ],
  unreachable: ({ name }) => [
    `The file ${name} could not be loaded`,
    "The connection to the server failed. Check it, and reload the page.",
  ],
  memory: ({ message }) => [
    "There is not enough memory",
    `${model ? "Ask for fewer images, or close" : "The model does not fit; close"} other tabs. The browser reported: ${message}`,
  ],
  failed: ({ message }) => ["Something went wrong", `${message}. Reload the page to try again.`],
};

class Problem extends Error {
  constructor({ kind, ...details }) {
    const [title, explanation] = PROBLEMS[kind](details);
    super(`${title}. ${explanation}`);
    Object.assign(this, { kind, title, explanation });
  }
}

function showProblem(problem) {
  const box = $("problem");
  const title = document.createElement("h2");
  title.textContent = problem.title ?? "Something went wrong";
  const text = document.createElement("p");
  (problem.explanation ?? problem.message).split("`").forEach((part, i) => {
    const node = i % 2 ? document.createElement("code") : document.createTextNode("");
    node.textContent = part;
    text.append(node);
  });
  box.replaceChildren(title, text);
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
}

// Why the page cannot run here, or null.
function obstacle() {
  if (location.protocol === "file:") return "file";
  if (typeof WebAssembly !== "object") return "noWebAssembly";
  const simd = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
  if (typeof DecompressionStream !== "function" || !WebAssembly.validate(new Uint8Array(simd))) return "old";
  return null;
}

// ---------------------------------------------------------------------------------------------- engine

// Calls jobs of the worker; see worker.js for the messages.
class Engine {
  constructor() {
    this.calls = new Map();
    this.next = 0;
    this.worker = new Worker("worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.answer(data);
    this.worker.onerror = () => this.fail();
  }

  // Starts a job; returns the promise of its result, with its `id`.
  call(job, given = {}, onUpdate = () => {}) {
    const id = this.next++;
    const result = new Promise((resolve, reject) => this.calls.set(id, { resolve, reject, onUpdate }));
    this.worker.postMessage({ id, job, ...given });
    return Object.assign(result, { id });
  }

  stop(id) {
    this.worker.postMessage({ stop: id });
  }

  // Ends the worker, and all jobs with this problem.
  close(problem) {
    this.worker.terminate();
    for (const call of this.calls.values()) call.reject(new Problem(problem));
    this.calls.clear();
  }

  answer({ id, update, result, problem }) {
    const call = this.calls.get(id);
    if (update) return call.onUpdate(update);
    this.calls.delete(id);
    return problem ? call.reject(new Problem(problem)) : call.resolve(result);
  }

  // The worker ended with an error outside a job: its script is missing, or it ran out of memory.
  async fail() {
    const response = await fetch("worker.js").catch(() => null);
    const isThere = response?.ok && /javascript/.test(response.headers.get("content-type"));
    const problem = isThere
      ? { kind: "memory", message: "the worker ended" }
      : { kind: "missing", name: "worker.js", status: response?.ok ? undefined : response?.status };
    this.close(problem);
  }
}

let engine;
let model; // the content of model.json
let pace; // milliseconds of a step per image, as measured last

async function load() {
  const kind = obstacle();
  if (kind) throw new Problem({ kind });
  engine = new Engine();
  const loaded = await engine.call("load", {}, ({ bytes, total }) => {
    $("progress").value = bytes / total;
    $("status").textContent =
      bytes < total ? `Loading the model: ${megabytes(bytes)} of ${megabytes(total)}…` : "Starting the model…";
  });
  ({ model, pace } = loaded);
}

// Runs a job on n images; resolves to {n, images, states, predictions, milliseconds, isStopped}.
//   images       levels 0..255, Uint8ClampedArray (n, C, H, W)
//   states       the same at each step of the chain, the last are the images
//   predictions  the generator's outputs at each step but the last
async function collected(job, given, onUpdate = () => {}) {
  const size = model.sample_shape.reduce((a, b) => a * b);
  const made = { n: given.n, states: [], predictions: [], images: null, milliseconds: 0 };
  const started = performance.now();
  const call = engine.call(job, given, (update) => {
    for (const name of ["states", "predictions"]) {
      update[name]?.forEach((part, k) => {
        made[name][k] ??= new Uint8ClampedArray(given.n * size);
        made[name][k].set(part, update.first * size);
      });
    }
    onUpdate(update, made);
  });
  made.id = call.id;
  onUpdate({ share: 0 }, made);
  const { isStopped, pace: measured } = await call;
  pace = measured;
  made.milliseconds = performance.now() - started;
  made.images = made.states.at(-1);
  return { ...made, isStopped };
}

// For programs and tests. All of them take
//   n       number of images                     seed     0 or more
//   labels  class of each image, if it has any   batch    images at a time, by default as time allows
//   noise   in place of the page's own numbers: {"image": [...], "known pixels": [...]}, a Float32Array per
//           image with the normal numbers that it asks for, in their order
// and edits also `picture`, Float32Array (C, H, W) in [-1, 1], with
//   stroke:   strength, t in 0..T                inpaint: mask, (H, W), 1 where pixels are filled; rounds
window.ddgan = {
  ready: null,
  sample: (given) => collected("sample", { seed: 0, ...given }),
  stroke: (given) => collected("stroke", { seed: 0, ...given }),
  inpaint: ({ mask, ...given }) =>
    collected("inpaint", { seed: 0, rounds: model.rounds, ...given, unknown: forChannels(mask) }),
  noise: (given) => engine.call("noise", given),
};

function forChannels(mask) {
  const unknown = new Uint8Array(mask.length * model.sample_shape[0]);
  for (let place = 0; place < unknown.length; place += mask.length) unknown.set(mask, place);
  return unknown;
}

// ---------------------------------------------------------------------------------------------- pixels

// Draws one image, levels (C, H, W) that begin at `offset`, on a canvas of its size.
function draw(canvas, levels, offset = 0) {
  const [channels, height, width] = model.sample_shape;
  const area = height * width;
  const pixels = new ImageData(width, height);
  const isGrey = channels < 3;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = levels[offset + (isGrey ? 0 : c) * area + i];
    pixels.data[4 * i + 3] = channels % 2 ? 255 : levels[offset + (channels - 1) * area + i];
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// The levels of a colour "#rrggbb" in the model's channels; alpha is opaque.
function levelsOf(color) {
  const rgb = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
  return channelsOf(...rgb, 255);
}

function channelsOf(red, green, blue, alpha) {
  const grey = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
  return [[grey], [grey, alpha], [red, green, blue], [red, green, blue, alpha]][model.sample_shape[0] - 1];
}

// A picture of any size as levels (C, H, W): cropped at its centre, and averaged over blocks of pixels.
function fitted(bitmap) {
  const [channels, height, width] = model.sample_shape;
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const block = Math.max(1, Math.min(Math.round(1 / scale), Math.floor(2048 / Math.max(width, height))));
  const canvas = canvasOf(width * block, height * block);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  if (channels % 2) {
    context.fillStyle = "#fff"; // under transparent pixels
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  const [w, h] = [bitmap.width * scale * block, bitmap.height * scale * block];
  context.drawImage(bitmap, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const levels = new Uint8ClampedArray(channels * height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const sum = [0, 0, 0, 0];
      for (let i = 0; i < block * block; i++) {
        const place = 4 * ((y * block + Math.floor(i / block)) * canvas.width + x * block + (i % block));
        for (let c = 0; c < 4; c++) sum[c] += data[place + c];
      }
      const mean = channelsOf(...sum.map((total) => total / block ** 2));
      mean.forEach((level, c) => (levels[(c * height + y) * width + x] = level));
    }
  }
  return levels;
}

function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

function saveCanvas(canvas, name) {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}

// ---------------------------------------------------------------------------------------------- images

// The images on show: what `collected` made so far, with the labels, the first step and the name for files.
let shown = null;
let chosen = null; // index of the selected image
let playing = null; // timer of the steps being played

const nameOfClass = (label) =>
  label === model.num_classes ? "no class" : model.class_names[label] ?? `class ${label}`;

function showNew(made) {
  stopPlaying();
  shown = made;
  chosen = null;
  $("chosen").hidden = true;
  $("steps").hidden = true;
  const columns = Math.ceil(Math.sqrt(made.n));
  $("grid").style.setProperty("--columns", columns);
  const [, height, width] = model.sample_shape;
  $("grid").replaceChildren(
    ...Array.from({ length: made.n }, (_, i) => {
      const tile = document.createElement("button");
      tile.type = "button";
      tile.disabled = true;
      const label = made.labels ? `, ${nameOfClass(made.labels[i])}` : "";
      tile.setAttribute("aria-label", `Image ${i + 1}${label}`);
      tile.setAttribute("aria-pressed", "false");
      tile.title = `Image ${i + 1}${label}`;
      tile.append(canvasOf(width, height));
      tile.onclick = () => choose(chosen === i ? null : i);
      return tile;
    })
  );
}

// Draws images first..first+count-1 at the step of the slider.
function drawTiles(first = 0, count = shown.n) {
  const size = model.sample_shape.reduce((a, b) => a * b);
  const last = shown.states.length - 1;
  const k = $("steps").hidden ? last : Number($("step").value);
  const view = document.querySelector("[name=view]:checked").value;
  const levels = view === "predictions" && k < last ? shown.predictions[k] : shown.states[k];
  for (let i = first; i < first + count; i++) {
    draw($("grid").children[i].firstChild, levels, i * size);
    $("grid").children[i].disabled = false;
  }
}

function showSteps() {
  const last = shown.states.length - 1;
  $("steps").hidden = last < 1;
  $("step").max = last;
  $("step").value = last;
  $("first_step").textContent = shown.firstName;
  $("views").hidden = model.prediction !== "x_0";
  showStep();
}

function showStep() {
  const t = shown.states.length - 1 - Number($("step").value);
  const sub = document.createElement("sub");
  sub.textContent = t;
  $("step_value").replaceChildren("x", sub);
  $("step").setAttribute("aria-valuetext", t ? `x ${t}, ${t} steps before the image` : "x 0, the image");
  drawTiles();
}

function play() {
  if (playing) return stopPlaying();
  const last = shown.states.length - 1;
  const pause = Math.max(60, Math.min(500, 2500 / last));
  $("step").value = 0;
  showStep();
  playing = setInterval(() => {
    $("step").value = Number($("step").value) + 1;
    showStep();
    if (Number($("step").value) === last) stopPlaying();
  }, pause);
}

function stopPlaying() {
  clearInterval(playing);
  playing = null;
}

function choose(index) {
  chosen = index;
  [...$("grid").children].forEach((tile, i) => tile.setAttribute("aria-pressed", String(i === index)));
  $("chosen").hidden = index === null;
  if (index === null) return;
  $("chosen_name").textContent = $("grid").children[index].getAttribute("aria-label");
}

// Name of files: model, seed, and the step if it is not the last.
function fileName(extra) {
  const t = shown.states.length - 1 - Number($("step").value);
  const parts = [document.title.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40), shown.name, extra];
  return [...parts, t ? `x${t}` : ""].filter(Boolean).join("-");
}

// All images as one picture: tiles of at least about 64 pixels, one white pixel apart.
function saveAll() {
  const [, height, width] = model.sample_shape;
  const columns = Math.ceil(Math.sqrt(shown.n));
  const rows = Math.ceil(shown.n / columns);
  const zoom = Math.max(1, Math.floor(64 / height));
  const canvas = canvasOf(columns * (width * zoom + 1) - 1, rows * (height * zoom + 1) - 1);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  [...$("grid").children].forEach((tile, i) => {
    const [x, y] = [(i % columns) * (width * zoom + 1), Math.floor(i / columns) * (height * zoom + 1)];
    context.clearRect(x, y, width * zoom, height * zoom);
    context.drawImage(tile.firstChild, x, y, width * zoom, height * zoom);
  });
  saveCanvas(canvas, fileName(String(shown.n)));
}

// ---------------------------------------------------------------------------------------------- drawing

const drawing = {
  levels: null, // the picture, (C, H, W)
  mask: null, // 1 where pixels are filled, (H, W)
  color: "#000000",
  undone: [], // earlier {levels, mask}, the latest last
  at: null, // the pixel under the brush, [x, y]
};

function setDrawing(levels) {
  const [, height, width] = model.sample_shape;
  drawing.levels = levels;
  drawing.mask ??= new Uint8Array(height * width);
}

function startDrawing(levels) {
  if (!drawing.levels) setDrawing(levels);
  remember();
  setDrawing(levels);
  showDrawing();
}

function remember() {
  drawing.undone.push({ levels: drawing.levels.slice(), mask: drawing.mask.slice() });
  if (drawing.undone.length > MOST_UNDONE) drawing.undone.shift();
}

function undo() {
  const last = drawing.undone.pop();
  if (last) Object.assign(drawing, last);
  showDrawing();
}

function showDrawing() {
  draw($("picture"), drawing.levels);
  showMask();
  $("undo").disabled = !drawing.undone.length;
}

// The mask in stripes that are visible on any picture; its canvas has finer pixels than the picture.
function showMask() {
  const [, height, width] = model.sample_shape;
  const canvas = $("mask");
  const zoom = Math.max(1, Math.round(320 / width));
  Object.assign(canvas, { width: width * zoom, height: height * zoom }); // which clears it
  if (mode !== "inpaint") return;
  const pixels = new ImageData(canvas.width, canvas.height);
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      if (!drawing.mask[Math.floor(y / zoom) * width + Math.floor(x / zoom)]) continue;
      pixels.data.set((x + y) % 12 < 6 ? [225, 29, 72, 235] : [255, 255, 255, 205], 4 * (y * canvas.width + x));
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// Paints a disc around a pixel, with the colour or on the mask.
function dab([x, y]) {
  const [, height, width] = model.sample_shape;
  const radius = Number($("brush_size").value) / 2;
  const color = levelsOf(drawing.color);
  const value = document.querySelector("[name=tool]:checked").value === "mark" ? 1 : 0;
  for (let i = 0; i < height * width; i++) {
    const [dx, dy] = [(i % width) - x, Math.floor(i / width) - y];
    if (dx * dx + dy * dy >= radius * radius + 0.01) continue;
    if (mode === "inpaint") drawing.mask[i] = value;
    else color.forEach((level, c) => (drawing.levels[c * height * width + i] = level));
  }
}

// Paints from one pixel to another.
function paintLine(from, to) {
  const count = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1);
  for (let i = 0; i <= count; i++) dab(from.map((start, axis) => Math.round(start + ((to[axis] - start) * i) / count)));
  showDrawing();
}

// The pixel at a pointer's place.
function pixelAt(event) {
  const box = $("picture").getBoundingClientRect();
  const [, height, width] = model.sample_shape;
  return [
    Math.floor(((event.clientX - box.left) / box.width) * width),
    Math.floor(((event.clientY - box.top) / box.height) * height),
  ];
}

function showBrush() {
  const [, , width] = model.sample_shape;
  const brush = $("brush");
  brush.hidden = !drawing.at;
  if (!drawing.at) return;
  const zoom = $("picture").clientWidth / width;
  const size = Math.max(Number($("brush_size").value), 1) * zoom;
  Object.assign(brush.style, {
    left: `${(drawing.at[0] + 0.5) * zoom}px`,
    top: `${(drawing.at[1] + 0.5) * zoom}px`,
    width: `${size}px`,
    height: `${size}px`,
  });
}

function prepareEasel() {
  const [, height, width] = model.sample_shape;
  const picture = $("picture");
  Object.assign(picture, { width, height });
  $("brush_size").max = Math.max(3, Math.round(width / 3));
  $("brush_size").value = Math.max(1, Math.round(width / 12));
  picture.tabIndex = 0;
  picture.setAttribute("role", "application");
  picture.setAttribute("aria-label", "Drawing");
  picture.setAttribute("aria-describedby", "easel_keys");
  picture.onpointerdown = (event) => {
    if (event.button) return;
    picture.setPointerCapture(event.pointerId);
    remember();
    drawing.at = pixelAt(event);
    paintLine(drawing.at, drawing.at);
    showBrush();
  };
  picture.onpointermove = (event) => {
    const last = drawing.at;
    drawing.at = pixelAt(event);
    if (event.buttons & 1 && last) paintLine(last, drawing.at);
    showBrush();
  };
  picture.onpointerleave = picture.onblur = () => {
    drawing.at = null;
    showBrush();
  };
  picture.onkeydown = (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    drawing.at ??= [Math.floor(width / 2), Math.floor(height / 2)];
    if (moves[event.key]) {
      const most = [width - 1, height - 1];
      drawing.at = drawing.at.map((at, axis) => Math.max(0, Math.min(most[axis], at + moves[event.key][axis])));
    } else if (event.key === " ") {
      remember();
      paintLine(drawing.at, drawing.at);
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) undo();
    else return;
    event.preventDefault();
    showBrush();
  };
}

function prepareColors() {
  const swatches = (model.sample_shape[0] < 3 ? GREYS : COLORS).map((color) => {
    const swatch = document.createElement("button");
    swatch.type = "button";
    swatch.style.background = color;
    swatch.setAttribute("aria-label", `Colour ${color}`);
    swatch.onclick = () => pick(color, swatch);
    return swatch;
  });
  const own = Object.assign(document.createElement("input"), { type: "color", value: "#4f46e5" });
  own.setAttribute("aria-label", "Colour of your own");
  own.title = "Colour of your own";
  own.oninput = () => pick(own.value, own);
  const pick = (color, button) => {
    drawing.color = color;
    for (const other of [...swatches, own]) other.setAttribute("aria-pressed", String(other === button));
  };
  $("colors").replaceChildren(...swatches, own);
  const isDark = channelsOf(255, 255, 255, 255)[0] - blank()[0] > 127;
  swatches.find((swatch) => swatch.getAttribute("aria-label") === `Colour ${isDark ? "#ffffff" : "#000000"}`).click();
}

// A picture of one colour, that of most corners of the images on show: the usual background of the model.
function blank() {
  const [channels, height, width] = model.sample_shape;
  const size = channels * height * width;
  const corners = Array.from({ length: shown?.images ? shown.n : 0 }, (_, i) =>
    Array.from({ length: channels }, (_, c) => shown.images[i * size + c * height * width])
  );
  const levels = new Uint8ClampedArray(size);
  for (let c = 0; c < channels; c++) {
    const sorted = corners.map((corner) => corner[c]).sort((a, b) => a - b);
    levels.fill(sorted[sorted.length >> 1] ?? 255, c * height * width, (c + 1) * height * width);
  }
  return levels;
}

async function openFile(file) {
  if (!file) return;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    $("status").textContent = `${file.name} is not an image that this browser can read.`;
    return;
  }
  startDrawing(fitted(bitmap));
}

// ---------------------------------------------------------------------------------------------- controls

const MODES = {
  sample: { verb: "Generate", at: "", hint: "" },
  stroke: {
    verb: "Turn into images",
    hint: "Paint the layout in rough strokes; the model adds the details.",
  },
  inpaint: { verb: "Fill", hint: "Mark the part of the picture to replace; the rest stays as it is." },
};
const kept = {}; // {n, label} of each mode, as last chosen; n is null before
let mode = "sample";
let running = null; // the job in progress

// The number of images that a mode can make in a few seconds.
function affordableNumber(name) {
  const steps = model.num_steps * (name === "inpaint" ? model.rounds : 1);
  return [16, 9, 4].find((n) => n * steps * pace <= PATIENCE) ?? 1;
}

// Shows the controls of a mode, with the values that it had last.
function showMode(name) {
  kept[mode] = { n: $("n").value, label: $("class").value };
  mode = name;
  document.querySelector(`[name=mode][value=${name}]`).checked = true;
  for (const other of ["stroke", "inpaint"]) {
    for (const part of document.querySelectorAll(`.for-${other}`)) {
      part.hidden = other !== name;
      for (const input of part.querySelectorAll("input")) input.disabled = part.hidden;
    }
  }
  $("editor").hidden = name === "sample";
  $("editor_hint").textContent = MODES[name].hint;
  $("run").textContent = MODES[name].verb;
  $("n").value = kept[name].n ?? affordableNumber(name);
  $("class").value = kept[name].label;
  if (name === "sample") return;
  // An untouched drawing is blank for strokes, and the first image for inpainting.
  if (!drawing.undone.length) {
    const size = model.sample_shape.reduce((a, b) => a * b);
    setDrawing(name === "inpaint" && shown?.images ? shown.images.slice(0, size) : blank());
  }
  showDrawing();
}

// Changes to a mode that edits, with this picture.
function edit(name, levels) {
  startDrawing(levels);
  showMode(name);
  $("controls").scrollIntoView({ block: "nearest" });
  $("picture").focus({ preventScroll: true });
}

function labels(n) {
  if (!model.num_classes) return null;
  const given = $("class").value;
  return Array.from({ length: n }, (_, i) => (given === "turn" ? i % model.num_classes : Number(given)));
}

// Generates, or edits the drawing, as the controls say.
async function run() {
  if (running) return;
  const name = mode;
  const given = { n: Number($("n").value), seed: Number($("seed").value) };
  given.labels = labels(given.n);
  if (name !== "sample") given.picture = Float32Array.from(drawing.levels, (level) => level / 127.5 - 1);
  if (name === "stroke") given.strength = Number($("strength").value);
  if (name === "inpaint") {
    if (!drawing.mask.some(Boolean)) {
      $("status").textContent = "Nothing is marked yet: paint over the part of the picture to fill.";
      return;
    }
    Object.assign(given, { unknown: forChannels(drawing.mask), rounds: Number($("rounds").value) });
  }
  const about = {
    labels: given.labels,
    name: `${name === "sample" ? "" : `${name}-`}seed${given.seed}`,
    firstName: name === "stroke" ? "noisy drawing" : "noise",
  };
  setRunning(true);
  try {
    let numDone = 0;
    const made = await collected(name, given, (update, soFar) => {
      $("progress").value = update.share;
      if (update.share === 0) {
        running = soFar.id;
        showNew(Object.assign(soFar, about));
      }
      if (update.states) {
        numDone += update.count;
        drawTiles(update.first, update.count);
      }
      $("status").textContent = `${plural(numDone, "image")} of ${given.n}…`;
    });
    if (made.isStopped) $("grid").replaceChildren(...[...$("grid").children].slice(0, numDone));
    Object.assign(shown, made, about, { n: made.isStopped ? numDone : made.n });
    if (shown.n) showSteps();
    const time = `${(made.milliseconds / 1000).toFixed(2)} s`;
    const each = made.milliseconds / made.n;
    $("status").textContent = made.isStopped
      ? `Stopped after ${plural(numDone, "image")}.`
      : `${plural(made.n, "image")} in ${time}, ${each < 10 ? each.toFixed(1) : Math.round(each).toLocaleString("en")} ms per image`;
    $("problem").hidden = true;
  } catch (problem) {
    showProblem(problem);
    $("status").textContent = "No images were made.";
    if (problem.kind === "memory") await restart();
  } finally {
    setRunning(false);
  }
}

// Loads the model again, after the runtime ran out of memory.
async function restart() {
  engine.close({ kind: "memory", message: "the model was loaded again" });
  try {
    await load();
    $("status").textContent = "The model was loaded again.";
  } catch (problem) {
    giveUp(problem);
  }
}

function setRunning(isRunning) {
  if (!isRunning) running = null;
  $("run").disabled = isRunning || !model;
  $("stop").hidden = !isRunning;
  $("save").disabled = isRunning || !shown?.states.length;
  $("progress").value = 0;
  for (const tile of $("grid").children) tile.disabled = isRunning;
  $("results").setAttribute("aria-busy", String(isRunning));
}

function prepareControls() {
  const [channels, height, width] = model.sample_shape;
  const kinds = { 1: "grey", 2: "grey with transparency", 3: "colour", 4: "colour with transparency" };
  $("facts").textContent =
    `${width} × ${height} pixels, ${kinds[channels]} · ${plural(model.num_steps, "denoising step")} · ` +
    `${(model.num_parameters / 1e6).toFixed(1)} million parameters`;
  const license = model.license || "not stated; ask the author before you use them";
  $("about").textContent =
    `Trained on ${model.data || "data that is not stated"}. Licence of the weights: ${license}. Made by ${model.software}.`;
  const bytes = (2 * model.num_steps + 1) * channels * height * width;
  $("n").max = Math.max(1, Math.min(MOST_IMAGES, Math.floor(MOST_BYTES / bytes)));
  $("strength").max = model.num_steps;
  $("strength").value = model.strength;
  $("rounds").value = model.rounds;
  const showStrength = () => ($("strength_value").textContent = `${$("strength").value} of ${model.num_steps}`);
  showStrength();
  if (model.num_classes) {
    const classes = Array.from({ length: model.num_classes }, (_, label) => [label, model.class_names[label] ?? label]);
    const none = model.null_class ? [[model.num_classes, "No class"]] : [];
    const options = [["turn", "All in turn"], ...none, ...classes];
    $("class").replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    $("class_field").hidden = false;
  }
  for (const name of Object.keys(MODES)) {
    const label = name === "sample" || !model.null_class ? "turn" : String(model.num_classes);
    kept[name] = { n: null, label };
  }
  $("n").value = affordableNumber("sample");
  if (model.num_classes) $("class").value = kept.sample.label;
  prepareEasel();

  $("controls").onsubmit = (event) => {
    event.preventDefault();
    $("results").scrollIntoView({ block: "nearest" });
    run();
  };
  $("modes").onchange = (event) => showMode(event.target.value);
  $("stop").onclick = () => engine.stop(running);
  $("dice").onclick = () => {
    $("seed").value = Math.floor(Math.random() * 100_000);
    run();
  };
  $("strength").oninput = showStrength;
  $("step").oninput = () => {
    stopPlaying();
    showStep();
  };
  $("views").onchange = () => drawTiles();
  $("play").onclick = play;
  $("save").onclick = saveAll;
  $("save_one").onclick = () => saveCanvas($("grid").children[chosen].firstChild, fileName(`image${chosen + 1}`));
  const selected = () => {
    const size = model.sample_shape.reduce((a, b) => a * b);
    return shown.images.slice(chosen * size, (chosen + 1) * size);
  };
  $("paint_on_it").onclick = () => edit("stroke", selected());
  $("inpaint_it").onclick = () => edit("inpaint", selected());
  $("undo").onclick = undo;
  $("fill").onclick = () => {
    const [, height, width] = model.sample_shape;
    startDrawing(Uint8ClampedArray.from(levelsOf(drawing.color).flatMap((level) => new Array(height * width).fill(level))));
  };
  $("clear").onclick = () => {
    remember();
    drawing.mask.fill(0);
    showDrawing();
  };
  $("open").onclick = () => $("file").click();
  $("file").onchange = () => {
    openFile($("file").files[0]);
    $("file").value = ""; // so that the same file can be opened again
  };
  showMode("sample");
}

function giveUp(problem) {
  showProblem(problem);
  $("app").hidden = true;
}

async function start() {
  await load();
  prepareControls();
  setRunning(false);
  performance.mark("ready");
  run().then(prepareColors); // which takes the background of the images
  return model;
}

window.ddgan.ready = start();
window.ddgan.ready.catch(giveUp);
