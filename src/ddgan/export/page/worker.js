// The model of the page, in a thread of its own so that the page stays responsive.
//
// It loads model.json (shapes, tables of the diffusion, sizes of the files) and the ONNX graph of one
// denoising step, and runs the reverse chain around it:
//
//   x_T ~ N(0, I);  for t = T..1:  z ~ N(0, I),  x_{t-1} ~ q(. | x_t, x_0 = G(x_t, t, z))
//
// A message {id, job, ...} starts a job; answers are {id, update}, and last {id, result} or {id, problem}.
// {stop: id} ends a job at its next step.

const RUNTIME = "onnxruntime/ort.wasm.bundle.min.js";
const ENGINE = "onnxruntime/ort-wasm-simd-threaded.wasm.gz";
const GRAPH = "model.onnx";
const STEP_TIME = 150; // milliseconds that a step of a batch may take, so that progress moves
const LARGEST_BATCH = 32;
const PROGRESS_EVERY = 50; // milliseconds after which the page is told, and messages are let in

let model; // the content of model.json
let ort; // onnxruntime-web
let session; // the graph of one denoising step
let pace = STEP_TIME; // milliseconds of a step per image
const stopped = new Set(); // jobs to be ended

// ---------------------------------------------------------------------------------------------- noise

// Standard normal numbers of one image. They depend on the seed, the purpose and the index of the image
// alone, so image i is the same whatever the number of images. They are not PyTorch's numbers.
class SeededNoise {
  constructor(seed, purpose, index) {
    this.state = [0, 1, 2, 3].map((lane) => hash(`${lane}:${seed}:${purpose}:${index}`));
    if (!this.state.some(Boolean)) this.state[0] = 1; // the only state that xoshiro cannot leave
    this.spare = null;
  }

  fill(row) {
    for (let i = 0; i < row.length; i++) row[i] = this.normal();
  }

  // The Box-Muller transform makes two normal numbers of two uniform ones.
  normal() {
    if (this.spare !== null) {
      const kept = this.spare;
      this.spare = null;
      return kept;
    }
    const radius = Math.sqrt(-2 * Math.log((this.bits() + 1) / 2 ** 32));
    const angle = (2 * Math.PI * this.bits()) / 2 ** 32;
    this.spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  // 32 random bits by xoshiro128** (Blackman and Vigna, 2018).
  bits() {
    const s = this.state;
    const result = Math.imul(rotated(Math.imul(s[1], 5), 7), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotated(s[3], 11);
    return result;
  }
}

// Numbers that a test gives, in the order in which an image asks for them.
class GivenNoise {
  constructor(numbers) {
    this.numbers = numbers;
    this.next = 0;
  }

  fill(row) {
    const end = this.next + row.length;
    if (end > this.numbers.length) {
      throw new Error(`the given noise has ${this.numbers.length} numbers per image; more are needed`);
    }
    row.set(this.numbers.subarray(this.next, end));
    this.next = end;
  }
}

function rotated(bits, by) {
  return (bits << by) | (bits >>> (32 - by));
}

// A hash of 32 bits: FNV-1a over the characters, then the finalizer of MurmurHash3.
function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

// The noise of images first..first+count-1: called with a size, it draws (count, size) numbers.
function noiseOf(given, purpose, first, count) {
  const streamOf = (index) =>
    given.noise ? new GivenNoise(given.noise[purpose][index]) : new SeededNoise(given.seed, purpose, index);
  let streams;
  return (size) => {
    streams ??= Array.from({ length: count }, (_, row) => streamOf(first + row));
    const drawn = new Float32Array(count * size);
    streams.forEach((stream, row) => stream.fill(drawn.subarray(row * size, (row + 1) * size)));
    return drawn;
  };
}

// ------------------------------------------------------------------------------------------- the chain

const sizeOf = () => model.sample_shape.reduce((a, b) => a * b);

// One step of the chain, from x_t to x_{t-1}: {prediction, x_prev}, each (B, ...) as a Float32Array.
async function denoised(x_t, t, noise, labels) {
  const count = labels.length;
  const shape = [count, ...model.sample_shape];
  const floats = (values, ...dims) => new ort.Tensor("float32", values, dims);
  const integers = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [count]);
  const z = noise(model.latent_size);
  const inputs = {
    x_t: floats(x_t, ...shape),
    t: integers(new Array(count).fill(t)),
    z: floats(z, count, model.latent_size),
    noise: floats(noise(sizeOf()), ...shape),
    y: integers(labels),
  };
  const used = Object.fromEntries(session.inputNames.map((name) => [name, inputs[name]]));
  const outputs = await session.run(used);
  return { prediction: outputs.prediction.data, x_prev: outputs.x_prev.data };
}

// x_t ~ q(x_t | x_0); t may be 0, which returns x_0.
function diffused(x_0, t, noise) {
  const signal = model.signal_scale[t];
  const scale = model.noise_scale[t];
  return x_0.map((value, i) => signal * value + scale * noise[i]);
}

// x_t ~ q(x_t | x_{t-1}): one forward step.
function renoised(x_prev, t, noise) {
  const signal = model.step_signal[t];
  const scale = model.step_noise[t];
  return x_prev.map((value, i) => signal * value + scale * noise[i]);
}

// An edit or a sampling of one batch yields {t, x_t, prediction} at each step and last {t: 0, x_t: x_0}.

async function* sampled(batch) {
  yield* chain(batch.noise(sizeOf()), model.num_steps, batch);
}

async function* chain(x_t, start, { noise, labels }) {
  for (let t = start; t > 0; t--) {
    const { prediction, x_prev } = await denoised(x_t, t, noise, labels);
    yield { t, x_t, prediction };
    x_t = x_prev;
  }
  yield { t: 0, x_t };
}

// Strokes: the picture is noised to x_t, t = strength, and denoised from there.
async function* stroked(batch) {
  const { picture, strength, noise } = batch;
  const x_t = strength ? diffused(picture, strength, noise(sizeOf())) : picture;
  yield* chain(x_t, strength, batch);
}

// Inpainting: after each step the known pixels are replaced by samples of q(x_{t-1} | x_0) of the picture,
// and each step is repeated, so that both parts agree.
async function* inpainted(batch) {
  const { picture, unknown, rounds, noise, known, labels } = batch;
  const merged = (x, t) => {
    const seen = diffused(picture, t, known(sizeOf()));
    return x.map((value, i) => (unknown[i] ? value : seen[i]));
  };
  let x = merged(noise(sizeOf()), model.num_steps);
  for (let t = model.num_steps; t > 0; t--) {
    for (let round = 0; round < rounds; round++) {
      if (round) x = renoised(x, t, known(sizeOf()));
      const { prediction, x_prev } = await denoised(x, t, noise, labels);
      yield { t, x_t: x, prediction, isRepeated: round + 1 < rounds };
      x = merged(x_prev, t - 1);
    }
  }
  yield { t: 0, x_t: x };
}

// ---------------------------------------------------------------------------------------------- jobs

// Runs a chain over n images in batches. After each batch an update has its images at every step, as levels
// 0..255: states[k] are x_t and predictions[k] the generator's outputs, k = 0 for the first t of the chain.
async function inBatches(id, given, numCalls, run) {
  const { n, update } = given;
  const size = sizeOf();
  let told = performance.now();
  for (let first = 0; first < n; ) {
    const count = Math.min(given.batch || affordable(), n - first);
    const labels = given.labels ? given.labels.slice(first, first + count) : new Array(count).fill(0);
    const noise = noiseOf(given, "image", first, count);
    const known = noiseOf(given, "known pixels", first, count);
    const repeated = (values) => values && tiled(values, count);
    const batch = {
      ...given, count, labels, noise, known,
      picture: repeated(given.picture), unknown: repeated(given.unknown),
    };
    const states = [];
    const predictions = [];
    let calls = 0;
    let started = performance.now();
    for await (const step of run(batch)) {
      if (!step.isRepeated) {
        states.push(levels(step.x_t));
        if (step.prediction) predictions.push(levels(step.prediction));
      }
      if (step.t === 0) break;
      calls += 1;
      pace = (performance.now() - started) / count;
      if (performance.now() - told > PROGRESS_EVERY) {
        update({ share: (first + (count * calls) / numCalls) / n });
        await aMoment();
        if (stopped.has(id)) return { isStopped: true, pace };
        told = performance.now();
      }
      started = performance.now();
    }
    const parts = [...states, ...predictions].map((part) => part.buffer);
    update({ first, count, states, predictions, share: (first + count) / n }, parts);
    first += count;
  }
  return { isStopped: false, pace };
}

const JOBS = {
  load,
  sample: (id, given) => inBatches(id, given, model.num_steps, sampled),
  stroke: (id, given) => inBatches(id, given, given.strength, stroked),
  inpaint: (id, given) => inBatches(id, given, model.num_steps * given.rounds, inpainted),
  // Numbers of the page's own generator, for tests of it.
  noise: async (id, { seed, purpose, index, count }) => {
    const row = new Float32Array(count);
    new SeededNoise(seed, purpose, index).fill(row);
    return row;
  },
};

// The largest power of 2 of images whose step takes at most STEP_TIME.
function affordable() {
  const most = Math.min(LARGEST_BATCH, STEP_TIME / pace);
  return Math.max(1, 2 ** Math.floor(Math.log2(most)));
}

function tiled(values, count) {
  const all = new values.constructor(values.length * count);
  for (let row = 0; row < count; row++) all.set(values, row * values.length);
  return all;
}

// [-1, 1] -> 0..255, rounded and clipped as ddgan does: a clamped array rounds half to even.
function levels(x) {
  const result = new Uint8ClampedArray(x.length);
  for (let i = 0; i < x.length; i++) {
    if (!Number.isFinite(x[i])) throw new Error("the model's values are not finite: it has diverged");
    result[i] = (x[i] + 1) * 127.5;
  }
  return result;
}

// Lets messages in, such as one that stops the job. (A timer would wait for 4 ms.)
function aMoment() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(null);
  });
}

// ---------------------------------------------------------------------------------------------- loading

// A problem that the page explains; `kind` is a name in page.js.
class Problem extends Error {
  constructor(kind, details) {
    super(kind);
    Object.assign(this, { kind, details });
  }
}

async function load(id, { update }) {
  model = JSON.parse(new TextDecoder().decode(await fetched("model.json", null, () => {})));
  const done = {};
  const total = model.files[GRAPH] + model.files[ENGINE];
  const loading = (name) =>
    fetched(name, model.files[name], (bytes) => {
      done[name] = bytes;
      update({ bytes: Object.values(done).reduce((a, b) => a + b), total });
    });
  const [graph, engine, runtime] = await Promise.all([
    loading(GRAPH),
    loading(ENGINE).then(unpacked),
    import(`./${RUNTIME}`).catch(() => {
      throw new Problem("missing", { name: RUNTIME });
    }),
  ]);
  ort = runtime;
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
  ort.env.wasm.wasmBinary = engine;
  update({ bytes: total, total });
  session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  await warmUp();
  return { model, pace };
}

// Makes a step of one image, during which the browser begins to optimize the code.
async function warmUp() {
  const noise = noiseOf({ seed: 0 }, "warm-up", 0, 1);
  const started = performance.now();
  await denoised(noise(sizeOf()), 1, noise, [0]);
  pace = Math.max((performance.now() - started) / 3, 0.01); // later ones take about a third
}

// Reads a file of the page; `size` is the number of bytes it must have, if known.
async function fetched(name, size, progress) {
  let response;
  try {
    response = await fetch(name, { cache: "no-cache" });
  } catch {
    throw new Problem("unreachable", { name });
  }
  if (!response.ok) throw new Problem("missing", { name, status: response.status });
  const parts = [];
  let bytes = 0;
  try {
    const reader = response.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      bytes += part.value.length;
      progress(bytes);
    }
  } catch {
    throw new Problem("unreachable", { name });
  }
  const content = new Uint8Array(bytes);
  let place = 0;
  for (const part of parts) {
    content.set(part, place);
    place += part.length;
  }
  // A server that declares .gz files as compressed makes the browser unpack them.
  if (size !== null && bytes !== size && !isWebAssembly(content)) {
    throw new Problem("damaged", { name, bytes, size });
  }
  return content;
}

const isWebAssembly = (content) => String.fromCharCode(...content.subarray(0, 4)) === "\0asm";

async function unpacked(content) {
  if (isWebAssembly(content)) return content.buffer;
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"));
  try {
    return await new Response(stream).arrayBuffer();
  } catch {
    throw new Problem("damaged", { name: ENGINE });
  }
}

// ---------------------------------------------------------------------------------------------- messages

// Errors of the runtime are objects, texts or, for exceptions of C++, numbers.
function described(error) {
  if (error instanceof Problem) return { kind: error.kind, ...error.details };
  const message = String(error?.message ?? error);
  const isMemory =
    error instanceof RangeError ||
    typeof error === "number" ||
    /out of memory|bad_alloc|allocat|memory access|maximum memory/i.test(message);
  return { kind: isMemory ? "memory" : "failed", message };
}

let queue = Promise.resolve(); // jobs are done one after the other

onmessage = ({ data }) => {
  if (data.stop !== undefined) stopped.add(data.stop);
  else queue = queue.then(() => answer(data));
};

async function answer({ id, job, ...given }) {
  const update = (content, parts = []) => postMessage({ id, update: content }, parts);
  try {
    postMessage({ id, result: await JOBS[job](id, { ...given, update }) });
  } catch (error) {
    postMessage({ id, problem: described(error) });
  }
}
