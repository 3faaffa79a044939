/** Where a player stands. Values, no timers: the player says what time it is. */

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16] as const
export const MIN_SPEED = 0.25
export const MAX_SPEED = 16

export interface Playhead {
  readonly playing: boolean
  readonly speed: number
  /** Play time at `atMs`. */
  readonly positionUs: number
  readonly atMs: number
  readonly durationUs: number
}

/** Play time now, never beyond the end. */
export function positionAt(head: Playhead, nowMs: number): number {
  const ranUs = head.playing ? Math.max(0, nowMs - head.atMs) * 1000 * head.speed : 0
  return Math.min(head.durationUs, head.positionUs + ranUs)
}

/** Exact, and leaves play or pause as it was. */
export function seek(head: Playhead, toUs: number, nowMs: number): Playhead {
  return { ...head, positionUs: Math.min(head.durationUs, Math.max(0, toUs)), atMs: nowMs }
}

export function toggle(head: Playhead, nowMs: number): Playhead {
  return { ...seek(head, positionAt(head, nowMs), nowMs), playing: !head.playing }
}

export function withSpeed(head: Playhead, speed: number, nowMs: number): Playhead {
  return { ...seek(head, positionAt(head, nowMs), nowMs), speed: Math.min(MAX_SPEED, Math.max(MIN_SPEED, speed)) }
}

/** The next of the usual speeds above or below. */
export function stepSpeed(speed: number, direction: 1 | -1): number {
  const next = direction > 0 ? SPEEDS.find(each => each > speed) : SPEEDS.findLast(each => each < speed)
  return next ?? speed
}

/** How long until a play time is reached, in ms of the wall clock; Infinity while paused. */
export function msUntil(head: Playhead, playUs: number, nowMs: number): number {
  if (!head.playing) return Number.POSITIVE_INFINITY
  return Math.max(0, (playUs - positionAt(head, nowMs)) / 1000 / head.speed)
}
