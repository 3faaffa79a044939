/** Colour, never alone: every coloured word says the same without it. */

import type { CliIo } from './io.ts'

export type ColorMode = 'auto' | 'always' | 'never'
export type Tone = 'bad' | 'warn' | 'good' | 'dim' | 'bold'
export type Paint = (tone: Tone | undefined, text: string) => string

const CODES: Readonly<Record<Tone, number>> = { bad: 31, warn: 33, good: 32, dim: 2, bold: 1 }

/** `auto` colours terminals, unless NO_COLOR (https://no-color.org) or a dumb terminal says otherwise. */
export function createPaint(mode: ColorMode, io: CliIo): Paint {
  const noColor = (io.env['NO_COLOR'] ?? '') !== '' || io.env['TERM'] === 'dumb'
  const on = mode === 'always' || (mode === 'auto' && io.stdout.isTTY === true && !noColor)
  return (tone, text) => (on && tone !== undefined && text !== '' ? `\u001b[${CODES[tone]}m${text}\u001b[0m` : text)
}
