/**
 * Recorded text is hostile: what would move a cursor, colour a line, reorder letters or hide them is shown as an escape and never
 * reaches the terminal as it is.
 */

// C0, DEL and C1 · marks and overrides of direction · invisible spaces, joiners of words and byte order marks · line separators · interlinear and tag
// characters (text that a model reads and a person does not see) · unpaired surrogates.
// oxlint-disable-next-line no-control-regex
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]|\p{Surrogate}/gu
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** One line of text that is safe to print. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped)
}

/** The same over several lines: line ends stay, a tab becomes spaces. */
export function printableLines(text: string): string {
  return text.replaceAll('\t', '  ').split(/\r?\n/).map(printable).join('\n')
}

/** A value as JSON that reads back the same and is safe to print: what JSON itself leaves as it is becomes `\uXXXX`. */
export function printableJson(value: unknown, indent?: number): string {
  return escapeJson(JSON.stringify(value, undefined, indent) ?? 'null')
}

/** JSON text with the same content that is safe to print. Line ends between tokens stay. */
export function escapeJson(json: string): string {
  return json.replace(UNPRINTABLE, found => (found === '\n' || found === '\r' || found === '\t' ? found : units(found)))
}

function escaped(found: string): string {
  const short = SHORT[found]
  if (short !== undefined) return short
  const code = found.codePointAt(0) ?? 0
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`
  return code > 0xffff ? `\\u{${code.toString(16)}}` : units(found)
}

function units(found: string): string {
  return found.split('').map(unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
}

const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u
const ZERO = /\p{Mark}|\u200c|\u200d/u
// oxlint-disable-next-line no-control-regex
const ASCII = /^[\u0000-\u007f]*$/

/** Columns that printable text takes on a terminal. */
export function displayWidth(text: string): number {
  if (ASCII.test(text)) return text.length
  let width = 0
  for (const char of text) width += ZERO.test(char) ? 0 : WIDE.test(char) ? 2 : 1
  return width
}

/** The text, cut to a number of columns with `…` in the last one. */
export function fit(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text
  let width = 0
  let kept = ''
  for (const char of text) {
    width += displayWidth(char)
    if (width > columns - 1) break
    kept += char
  }
  return `${kept}…`
}
