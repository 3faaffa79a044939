/** JSON laid out for reading without being parsed into values: digits of large numbers, double keys and escapes stay as they were. */

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g

/** @returns undefined when the text is not JSON */
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
  for (const [token] of text.matchAll(TOKEN)) {
    const opens = before === '{' || before === '['
    if (token === '}' || token === ']') {
      depth -= 1
      out.push(opens ? token : newLine() + token)
    } else {
      if (opens) out.push(newLine())
      out.push(token === ',' ? `,${newLine()}` : token === ':' ? ': ' : token)
    }
    if (token === '{' || token === '[') depth += 1
    before = token
  }
  return out.join('')
}
