/**
 * The player on a terminal: prints each row when its time has come, obeys keys, keeps a status line below. Recorded time and play time
 * come from `record/playback.ts`; here are only the clock, the keys and the screen.
 */

import { createPlayback } from '../record/playback.ts'
import type { Playback } from '../record/playback.ts'
import { msUntil, positionAt, seek, stepSpeed, toggle, withSpeed } from '../record/playhead.ts'
import type { Playhead } from '../record/playhead.ts'
import type { Row } from '../record/row.ts'
import type { CliIo, ExitCode } from './io.ts'
import { readKeys } from './keys.ts'
import type { Key } from './keys.ts'
import { breakLine } from './play-lines.ts'
import { offsetText } from './quantity.ts'
import { write } from './write.ts'

const TICK_MS = 500
const STEP_US = 5_000_000

export interface Playing {
  readonly rows: readonly Row[]
  readonly start: number
  readonly line: (row: Row) => string
  readonly speed: number
  /** 0 plays every pause in full. */
  readonly maxIdleUs: number
}

interface State {
  playback: Playback
  head: Playhead
  /** Next row to print. */
  next: number
  skipping: boolean
  over: boolean
  /** Status line on the screen now. */
  status: string
}

/** Resolves at the end of the recording, on `q`, or on the signal. */
export async function playOnTerminal(playing: Playing, io: CliIo): Promise<ExitCode> {
  const state = startOf(playing, performance.now())
  const keys = readKeys(io)
  try {
    for (;;) {
      await printDue(state, playing, io)
      if (state.over || io.signal.aborted || state.next >= playing.rows.length) break
      status(state, playing, io)
      const now = performance.now()
      const key = await keys.next(Math.min(TICK_MS, msUntil(state.head, state.playback.cues[state.next]?.playUs ?? 0, now)))
      if (key !== undefined) await obey(key, state, { playing, io })
    }
  } finally {
    clear(state, io)
    keys.close()
  }
  return 0
}

function startOf(playing: Playing, atMs: number): State {
  const playback = playbackOf(playing, playing.maxIdleUs > 0)
  const positionUs = playback.cues[playing.start]?.playUs ?? 0
  return { playback, next: playing.start, skipping: playing.maxIdleUs > 0, over: false, status: '', head: { playing: true, speed: playing.speed, positionUs, atMs, durationUs: playback.durationUs } }
}

function playbackOf(playing: Playing, skipping: boolean): Playback {
  return createPlayback(playing.rows.map(row => row.offsetUs), skipping ? playing.maxIdleUs || 2_000_000 : 0)
}

async function printDue(state: State, playing: Playing, io: CliIo): Promise<void> {
  const position = positionAt(state.head, performance.now())
  while (state.next < playing.rows.length && (state.playback.cues[state.next]?.playUs ?? 0) <= position) {
    const cue = state.playback.cues[state.next]
    const row = playing.rows[state.next]
    state.next += 1
    clear(state, io)
    if (cue?.skippedUs !== undefined && cue.index > playing.start) await write(io.stdout, `${breakLine(cue.skippedUs)}\n`)
    if (row !== undefined) await write(io.stdout, `${playing.line(row)}\n`)
  }
}

async function obey(key: Key, state: State, on: { readonly playing: Playing; readonly io: CliIo }): Promise<void> {
  const now = performance.now()
  switch (key) {
    case 'quit':
      state.over = true
      return
    case 'pause':
      state.head = toggle(state.head, now)
      return
    case 'slower':
    case 'faster':
      state.head = withSpeed(state.head, stepSpeed(state.head.speed, key === 'faster' ? 1 : -1), now)
      return
    case 'skip': {
      // The same recorded moment on the other map.
      const recordedUs = state.playback.toRecorded(positionAt(state.head, now))
      state.skipping = !state.skipping
      state.playback = playbackOf(on.playing, state.skipping)
      state.head = seek({ ...state.head, durationUs: state.playback.durationUs }, state.playback.toPlay(recordedUs), now)
      return
    }
    case 'back':
    case 'forward':
    case 'far-back':
    case 'far-forward': {
      const stepUs = key.startsWith('far') ? state.head.durationUs / 10 : STEP_US
      const toUs = positionAt(state.head, now) + (key.endsWith('back') ? -stepUs : stepUs)
      state.head = seek(state.head, toUs, now)
      const landed = state.playback.indexAt(positionAt(state.head, now))
      // The frame that one lands on is printed; those jumped over are not.
      state.next = Math.max(0, landed)
      clear(state, on.io)
      await write(on.io.stdout, `--- at ${offsetText(state.playback.toRecorded(positionAt(state.head, now)))} ---\n`)
    }
  }
}

function status(state: State, playing: Playing, io: CliIo): void {
  if (io.stderr.isTTY !== true) return
  const position = state.playback.toRecorded(positionAt(state.head, performance.now()))
  const word = state.head.playing ? 'playing' : 'paused'
  const silence = state.skipping ? '' : '  silence kept'
  const text = `${word} ${state.head.speed}x  ${offsetText(position).slice(0, -4)} / ${offsetText(state.playback.recordedUs).slice(0, -4)}  ${state.next} of ${playing.rows.length}${silence}   [space ← → < > s q]`.slice(0, (io.stdout.columns || 80) - 1)
  if (text === state.status) return
  state.status = text
  io.stderr.write(`\r\u001b[2K${text}`)
}

/** Takes the status line away, so that a row can stand there. */
function clear(state: State, io: CliIo): void {
  state.status = ''
  if (io.stderr.isTTY === true) io.stderr.write('\r\u001b[2K')
}
