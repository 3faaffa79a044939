/**
 * Recorded time is the truth; this maps it to play time. Idle time longer than allowed is cut out at a marked break, and one piecewise
 * linear map, exact at every frame, serves markers, seeking and the clock alike. Speed is applied after it, by `playhead.ts`.
 */

export interface Cue {
  /** Index of the frame in what was given. */
  readonly index: number
  readonly recordedUs: number
  readonly playUs: number
  /** Idle time cut out right before this frame. */
  readonly skippedUs?: number
}

export interface Playback {
  readonly cues: readonly Cue[]
  /** Play time of the last frame. */
  readonly durationUs: number
  /** Recorded time of the last frame. */
  readonly recordedUs: number
  toPlay(recordedUs: number): number
  toRecorded(playUs: number): number
  /** Index of the last frame at or before a play time; -1 before the first. */
  indexAt(playUs: number): number
}

/**
 * @param offsetsUs recorded time of each frame. One that steps back (two writers whose clocks disagree) plays with the one before it
 * @param maxIdleUs longest pause that is played in full; 0 or undefined plays every pause in full
 */
export function createPlayback(offsetsUs: readonly number[], maxIdleUs?: number): Playback {
  const cues = toCues(offsetsUs, maxIdleUs === undefined || maxIdleUs <= 0 ? Number.POSITIVE_INFINITY : maxIdleUs)
  const last = cues.at(-1)
  return {
    cues,
    durationUs: last?.playUs ?? 0,
    recordedUs: last?.recordedUs ?? 0,
    toPlay: recordedUs => along(cues, recordedUs, 'recordedUs', 'playUs'),
    toRecorded: playUs => along(cues, playUs, 'playUs', 'recordedUs'),
    indexAt: playUs => lastAtOrBefore(cues, playUs, 'playUs'),
  }
}

function toCues(offsetsUs: readonly number[], maxIdleUs: number): Cue[] {
  const cues: Cue[] = []
  let recordedUs = 0
  let playUs = 0
  offsetsUs.forEach((offsetUs, index) => {
    // The time before the first frame is idle time too, when a part of a session is played.
    const idleUs = Math.max(0, offsetUs - recordedUs)
    const playedUs = Math.min(idleUs, maxIdleUs)
    recordedUs += idleUs
    playUs += playedUs
    cues.push({ index, recordedUs, playUs, ...(playedUs < idleUs ? { skippedUs: idleUs - playedUs } : {}) })
  })
  return cues
}

type Axis = 'recordedUs' | 'playUs'

/** Position on the other axis. Within a break the clamped pause is stretched evenly, so that the map stays monotonic both ways. */
function along(cues: readonly Cue[], value: number, from: Axis, to: Axis): number {
  const at = lastAtOrBefore(cues, value, from)
  const left = cues[at] ?? { recordedUs: 0, playUs: 0 }
  const right = cues[at + 1]
  if (right === undefined) return left[to]
  const span = right[from] - left[from]
  return span <= 0 ? left[to] : left[to] + (Math.max(0, value - left[from]) * (right[to] - left[to])) / span
}

function lastAtOrBefore(cues: readonly Cue[], value: number, axis: Axis): number {
  let low = 0
  let high = cues.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((cues[middle]?.[axis] ?? 0) <= value) low = middle + 1
    else high = middle
  }
  return low - 1
}
