/** Completion as people meet it: the scripts run in the shells themselves, which ask the program through its launcher. */

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { expect } from 'chai'

import { steno } from '../../support/cli.ts'

const STENO = fileURLToPath(new URL('../../../steno', import.meta.url))
const exec = promisify(execFile)

/** Completes the words as bash would, which tells a function by variables. */
const BASH = String.raw`
source ./script
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_steno
printf '%s\n' "${'$'}{COMPREPLY[@]}"
complete -p steno
`

/** Types into an interactive zsh, and prints what it ran in the end. */
const ZSH = String.raw`
zmodload zsh/zpty
zpty -b z zsh -f -i
zpty -w z "PS1='> '; autoload -U compinit; compinit -u -D; source ./script; function ran { print -r -- \"RAN:\$*\" }; function steno { if [[ \$1 == __complete ]]; then command steno \"\$@\"; else ran \"\$@\"; fi }; print REA''DY"
zpty -r -m z line '*READY*'
zpty -w -n z "$1"$'\n'
zpty -r -m z line '*RAN:*'$'\n'
print -r -- ${'$'}{${'$'}{(M)${'$'}{(f)line}:#*RAN:*}[1]}
zpty -d z
`

describe('completion', () => {
  let folder: string

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'steno-completion-'))
    await mkdir(join(folder, 'bin'))
    for (const name of ['steno', 'kubectl-steno', 'kubectl_complete-steno']) await symlink(STENO, join(folder, 'bin', name))
    await writeFile(join(folder, 'anchor.json'), '')
    await mkdir(join(folder, 'recordings'))
  })

  after(() => rm(folder, { recursive: true, force: true }))

  /** Runs a program where `steno` is found, in a folder with a file and a folder to complete. Skips, or in CI fails, without the program. */
  async function run(context: Mocha.Context, program: string, argv: readonly string[]): Promise<string> {
    context.timeout(30_000)
    try {
      const { stdout } = await exec(program, argv, { cwd: folder, env: { ...process.env, PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH'] ?? ''}`, TERM: 'dumb' } })
      return stdout
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
      const how = program === 'kubectl' ? 'install kubectl 1.26 or later' : `install the Debian package ${program}`
      if (process.env['CI'] === 'true') throw new Error(`${program} is missing: ${how}`, { cause: error })
      console.log(`      skipped, ${program} is missing: ${how}`)
      return context.skip()
    }
  }

  async function script(shell: string): Promise<void> {
    await writeFile(join(folder, 'script'), (await steno(['completion', shell])).out)
  }

  const cases: readonly (readonly [typed: readonly string[], offered: readonly string[]])[] = [
    [['sh'], ['show']],
    [['doctor', ''], ['aws', 'cluster']],
    [['help', 'sta'], ['stats']],
    [['list', '-o', 'js'], ['json', 'jsonl']],
    [['list', '-o', 'json', '--out'], []],
    [['list', '--color=a'], ['--color=auto', '--color=always']],
    [['list', '--', '--co'], []],
    [['play', '--fro'], ['--from']],
    [['doctor', 'aws', '--skip', 'clock', 'stream', '--tim'], ['--timeout']],
    [['show', ''], []],
    [['completion', ''], ['bash', 'zsh', 'fish']],
    [['no-such', ''], []],
  ]
  for (const [typed, offered] of cases) {
    it(`offers ${offered.join(', ') || 'nothing'} for ${JSON.stringify(typed.join(' '))}`, async () => {
      const { out } = await steno(['__complete', ...typed])
      expect(out.split('\n').filter(line => line !== '' && !line.startsWith(':')).map(line => line.split('\t')[0])).to.deep.equal(offered)
      expect(out).to.match(/^:4$/m)
    })
  }

  it('leaves files and folders to the shell', async () => {
    expect((await steno(['__complete', 'verify', '--anchor', ''])).out).to.equal(':0\n')
    expect((await steno(['__complete', 'list', '--archive', ''])).out).to.equal(':16\n')
  })

  it('bash completes commands, values after = and values apart', async function () {
    await script('bash')
    const complete = async (...words: string[]): Promise<string[]> => (await run(this, 'bash', ['--norc', '-c', BASH, 'bash', 'steno', ...words])).trim().split('\n').slice(0, -1)
    expect(await complete('st')).to.deep.equal(['stats'])
    // Three words to bash.
    expect(await complete('list', '--color', '=', 'al')).to.deep.equal(['always'])
    expect(await complete('list', '--color', '=')).to.deep.equal(['auto', 'always', 'never'])
    expect(await complete('list', '-o', 'wid')).to.deep.equal(['wide'])
  })

  it('zsh completes commands, flags, values and files', async function () {
    await script('zsh')
    expect((await run(this, 'zsh', ['-f', '-c', ZSH, 'zsh', 'steno veri\t--outp\tjsonl --anch\tanch\t'])).trim()).to.equal('RAN:verify --output jsonl --anchor anchor.json')
  })

  it('fish completes commands, flags, values and files', async function () {
    await script('fish')
    const complete = async (line: string): Promise<string[]> => (await run(this, 'fish', ['--no-config', '-c', 'source ./script; complete -C $argv[1]', line])).trim().split('\n')
    expect(await complete('steno st')).to.deep.equal(['stats\tcalls, errors and latency of each tool'])
    expect(await complete('steno list --color=al')).to.deep.equal(['--color=always'])
    expect(await complete('steno verify --anchor an')).to.deep.equal(['anchor.json'])
    expect(await complete('steno list --archive rec')).to.deep.equal(['recordings/\tDirectory'])
  })

  it('kubectl steno completes through kubectl_complete-steno', async function () {
    // What kubectl calls, whether there is one on this machine or not.
    expect(await run(this, join(folder, 'bin/kubectl_complete-steno'), ['list', '--color', 'al'])).to.equal('always\n:4\n')
    expect(await run(this, 'kubectl', ['__complete', 'steno', 'list', '--color', 'al'])).to.equal('always\n:4\n')
  })
})
