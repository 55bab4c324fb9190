/* The sound on its way from the media element to the ears: each lane with its own gain, and a quiet
   tone for stretches that are to be toned. Mono sound is spread over both inputs, so the same graph
   serves it. Not for: playing, seeking or speed, which are the media element's. */

export class Graph {
  readonly #context: AudioContext;
  readonly #lanes: GainNode[];
  readonly #meters: AnalyserNode[];
  readonly #cross: GainNode[];
  readonly #programme: GainNode;
  readonly #output: AnalyserNode;
  readonly #tone: GainNode;
  readonly #samples: Float32Array<ArrayBuffer>;

  /* Must be made in a listener's gesture, once per media element. */
  constructor(audio: HTMLMediaElement) {
    const context = new AudioContext({ latencyHint: "playback" });
    this.#context = context;
    const source = context.createMediaElementSource(audio);
    const spread = context.createGain();
    spread.channelCount = 2;
    spread.channelCountMode = "explicit";
    spread.channelInterpretation = "speakers";
    const splitter = context.createChannelSplitter(2);
    const merger = context.createChannelMerger(2);
    this.#programme = context.createGain();
    this.#output = analyser(context);
    source.connect(spread).connect(splitter);
    this.#lanes = [context.createGain(), context.createGain()];
    this.#meters = [analyser(context), analyser(context)];
    this.#cross = [context.createGain(), context.createGain()];
    this.#lanes.forEach((lane, index) => {
      splitter.connect(lane, index);
      lane.connect(this.#meters[index]!);
      lane.connect(merger, 0, index);
      lane.connect(this.#cross[index]!).connect(merger, 0, 1 - index);
      this.#cross[index]!.gain.value = 0;
    });
    merger.connect(this.#programme).connect(this.#output).connect(context.destination);
    this.#tone = context.createGain();
    this.#tone.gain.value = 0;
    this.#tone.connect(this.#output);
    const oscillator = context.createOscillator();
    oscillator.frequency.value = 440;
    oscillator.connect(this.#tone);
    oscillator.start();
    this.#samples = new Float32Array(this.#output.fftSize);
  }

  resume(): Promise<void> {
    return this.#context.state === "suspended" ? this.#context.resume() : Promise.resolve();
  }

  /* A lane heard alone goes to both ears. */
  setLanes(audible: readonly boolean[]): void {
    const alone = audible.filter(Boolean).length === 1;
    [0, 1].forEach((index) => {
      this.#glide(this.#lanes[index]!.gain, (audible[index] ?? true) ? 1 : 0);
      this.#glide(this.#cross[index]!.gain, alone ? 1 : 0);
    });
  }

  /* Replaces the recording by a tone, as long as it is on. */
  setTone(tone: "on" | "off"): void {
    this.#glide(this.#tone.gain, tone === "on" ? 0.03 : 0);
    this.#glide(this.#programme.gain, tone === "on" ? 0 : 1);
  }

  /* Root mean square of what reaches the ears, 0 to 1. */
  level(): number {
    return this.#level(this.#output);
  }

  laneLevel(index: number): number {
    const meter = this.#meters[index];
    return meter ? this.#level(meter) : 0;
  }

  close(): void {
    void this.#context.close();
  }

  #glide(parameter: AudioParam, to: number): void {
    parameter.setTargetAtTime(to, this.#context.currentTime, 0.012);
  }

  #level(meter: AnalyserNode): number {
    meter.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return Math.sqrt(sum / this.#samples.length);
  }
}

function analyser(context: AudioContext): AnalyserNode {
  const node = context.createAnalyser();
  node.fftSize = 1024;
  return node;
}
