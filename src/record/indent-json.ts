/** JSON laid out for reading without being parsed into values: digits of large numbers, double keys and escapes stay as they were. */

import { endOfString } from './end-of-string.ts'

/** Beyond this the indentation would be longer than the text by far: nobody reads it, and some would send it on purpose. */
const MAX_DEPTH = 100

const SPACE = /\s*/y
const WORD = /[^\s{}[\],:"]+/y

/** @returns undefined when the text is not JSON, or is nested too deep to be laid out */
export function indentJson(text: string): string | undefined {
  try {
    JSON.parse(text)
  } catch {
    return undefined
  }
  const out: string[] = []
  let depth = 0
  let before = ''
  const newLine = (): string => `\n${'  '.repeat(depth)}`
  for (let at = endOf(SPACE, text, 0); at < text.length; ) {
    const end = tokenEnd(text, at)
    const token = text.slice(at, end)
    const opens = before === '{' || before === '['
    if (token === '}' || token === ']') {
      depth -= 1
      out.push(opens ? token : newLine() + token)
    } else {
      if (opens) out.push(newLine())
      out.push(token === ',' ? `,${newLine()}` : token === ':' ? ': ' : token)
    }
    if (token === '{' || token === '[') depth += 1
    if (depth > MAX_DEPTH) return undefined
    before = token
    at = endOf(SPACE, text, end)
  }
  return out.join('')
}

function tokenEnd(text: string, at: number): number {
  if (text[at] === '"') return endOfString(text, at)
  return Math.max(at + 1, endOf(WORD, text, at))
}

/** Where a match that begins at `at` ends; `at` when there is none. */
function endOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex : at
}
