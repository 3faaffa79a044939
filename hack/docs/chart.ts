/** charts/steno/README.md from values.yaml: every value, its default, and the comment above it. Pure. */

interface Value {
  readonly path: string
  /** Undefined of one that only holds others. */
  readonly standard: string | undefined
  readonly about: string
}

/** @param values text of values.yaml: mappings by two spaces each, what is on one line as it is, comments above what they are about */
export function chartReference(values: string): string {
  const all = valuesOf(values)
  return [
    '# The chart of Steno',
    '',
    'Made by `npm run docs` from [values.yaml](values.yaml); do not edit. It installs the injector, which puts recorders into pods, the operator, and the definition of `SessionPolicy`.',
    '',
    '```sh',
    'helm install steno charts/steno --namespace steno-system --create-namespace --set image.repository=registry.example/steno --set image.tag=dev',
    '```',
    '',
    '[install.md](../../docs/install.md) walks through it, [upgrade.md](../../docs/upgrade.md) says how to go to another version and back, [permissions.md](../../docs/permissions.md) what it may do in the cluster. A value that is not listed here is refused.',
    '',
    ...all
      .filter(({ path }) => !path.includes('.'))
      .flatMap(top => {
        const rows = all.filter(({ path, about, standard }) => path.startsWith(`${top.path}.`) && (standard !== undefined || about !== ''))
        const own = rows.length === 0 ? [top] : rows
        return [`## ${top.path}`, '', ...(rows.length === 0 || top.about === '' ? [] : [top.about, '']), '| value | default | what |', '|---|---|---|', ...own.map(row), '']
      }),
  ].join('\n')
}

function row({ path, standard, about }: Value): string {
  return `| \`${path}\` | ${standard === undefined ? '' : `\`${standard}\``} | ${about.replaceAll('|', String.raw`\|`)} |`
}

/** @throws TypeError for a line that is neither a comment nor a value */
function valuesOf(text: string): Value[] {
  const found: Value[] = []
  const above: string[] = []
  let comment: string[] = []
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue
    const [, said] = /^ *# (.*)$/.exec(line) ?? []
    if (said !== undefined) {
      comment.push(said)
      continue
    }
    const [, indent = '', name, standard] = /^( *)(\w+):(?: (.+))?$/.exec(line) ?? []
    if (name === undefined) throw new TypeError(`values.yaml: neither a comment nor a value: ${line}`)
    above.splice(indent.length / 2)
    above.push(name)
    found.push({ path: above.join('.'), standard, about: comment.join(' ') })
    comment = []
  }
  return found
}
