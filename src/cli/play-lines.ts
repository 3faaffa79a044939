/** What is played, without the time it takes. */

import { createPlayback } from '../record/playback.ts'
import type { Row } from '../record/row.ts'
import { durationText } from './quantity.ts'

export interface PlayLines {
  readonly rows: readonly Row[]
  /** Index of the first row that is played. */
  readonly start: number
  readonly line: (row: Row) => string
  readonly mark: (skippedUs: number) => string
  readonly maxIdleUs: number
}

/** Every line at once, with the breaks that a player would make. */
export function* playTogether(play: PlayLines): Generator<string> {
  const playback = createPlayback(play.rows.map(row => row.offsetUs), play.maxIdleUs)
  for (const cue of playback.cues.slice(play.start)) {
    if (cue.skippedUs !== undefined && cue.index > play.start) yield play.mark(cue.skippedUs)
    const row = play.rows[cue.index]
    if (row !== undefined) yield play.line(row)
  }
}

export function breakLine(skippedUs: number): string {
  return `··· ${durationText(skippedUs)} of silence left out ···`
}
