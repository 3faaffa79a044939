/** Links and headings of a Markdown page, as far as our pages use it. Pure. */

export interface Link {
  readonly text: string
  readonly target: string
  readonly line: number
}

/** Inline links outside code. */
export function linksOf(page: string): Link[] {
  return proseOf(page).flatMap((line, index) => [...line.matchAll(/\[((?:[^\][]|\[[^\]]*\])*)\]\(([^()\s]+)\)/g)].map(([, text = '', target = '']) => ({ text, target, line: index + 1 })))
}

/** Names by which headings can be linked to, as GitHub makes them. */
export function anchorsOf(page: string): Set<string> {
  const seen = new Map<string, number>()
  const anchors = new Set<string>()
  const lines = withoutFences(page)
  for (const [, title = ''] of lines.map(line => /^#{1,6} (.+)$/.exec(line) ?? [])) {
    if (title === '') continue
    const plain = title.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').trim().toLowerCase()
    const slug = plain.replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '').replaceAll(' ', '-')
    const before = seen.get(slug) ?? 0
    seen.set(slug, before + 1)
    anchors.add(before === 0 ? slug : `${slug}-${before}`)
  }
  return anchors
}

/** The page without fenced code; lines keep their numbers. */
function withoutFences(page: string): string[] {
  let fenced = false
  return page.split('\n').map(line => {
    if (/^\s*(?:```|~~~)/.test(line)) {
      fenced = !fenced
      return ''
    }
    return fenced ? '' : line
  })
}

function proseOf(page: string): string[] {
  return withoutFences(page).map(line => line.replace(/`[^`]*`/g, code => '·'.repeat(code.length)))
}
