/** What people type, for the help of each command and for docs/cli.md. A test sees to it that every command has some and that they parse. */

import type { Command } from 'commander'

export interface Example {
  /** Without the name of the program. */
  readonly line: string
  readonly does: string
}

/** By the command's name below the program: `doctor aws`. */
const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  up: [
    { line: 'up --upstream http://127.0.0.1:3001/mcp', does: 'record into ./recordings' },
    { line: 'up --upstream https://mcp.example/mcp --archive ~/recordings --on-failure allow', does: 'never stand in the way: what cannot be recorded passes, and a gap says so' },
    { line: "up --upstream http://127.0.0.1:3001/mcp --sink 'firehose://steno?region=eu-west-1' --durability off-pod", does: 'pass on only what Amazon Data Firehose has accepted' },
  ],
  list: [
    { line: 'list', does: 'the newest 100 sessions of ./recordings' },
    { line: 'list --errors --since 1h', does: 'what went wrong in the last hour' },
    { line: 'list --archive s3://bucket/prefix -o name | head -n 1', does: 'the name of the newest session of a bucket' },
    { line: 'list -w', does: 'go on, a line for each change' },
  ],
  show: [
    { line: 'show 3f2a', does: 'a session by the first letters of its name' },
    { line: 'show 3f2a --paired --tool search', does: 'calls of one tool, each with its answer' },
    { line: "show 3f2a --grep 'error -kind:ntf'", does: 'frames that match a query' },
    { line: 'show ungrouped --kind access', does: 'who reached past a recorder' },
  ],
  frame: [
    { line: 'frame 3f2a 12', does: 'frame 12 of a session that has one writer' },
    { line: 'frame 3f2a writer-a.12 --raw > body.json', does: 'its body, exactly as it was recorded' },
  ],
  play: [
    { line: 'play 3f2a --speed 4', does: 'four times as fast' },
    { line: 'play 3f2a --from 0:30 --max-idle 0s', does: 'from 30 s on, with every silence in full' },
    { line: 'play -f session.jsonl | less', does: 'all lines at once' },
  ],
  stats: [
    { line: 'stats 3f2a', does: 'calls, errors and latency of each tool' },
    { line: 'stats 3f2a -o json', does: 'the same, for a program' },
  ],
  export: [
    { line: 'export 3f2a > session.jsonl', does: 'values that look secret are taken out' },
    { line: 'export 3f2a --raw --output-file session.jsonl', does: 'exactly as recorded, into a new file' },
  ],
  verify: [
    { line: 'verify', does: 'everything in ./recordings' },
    { line: 'verify --save-anchor anchor.json', does: 'keep the heads; put the file where no recorder can write' },
    { line: 'verify --anchor anchor.json --require-anchor', does: 'fail unless the anchor proves it' },
  ],
  record: [{ line: "record --port 15080=8080 --sink 'firehose://steno?region=eu-west-1'", does: 'as the injector starts it in a pod' }],
  ready: [{ line: 'ready --admin 127.0.0.1:15088', does: 'as the injector has it run in a pod' }],
  inject: [
    { line: 'inject --dry-run -f deployment.yaml --policy policy.yaml', does: 'the pod as it would be, and why; needs no cluster' },
    { line: 'inject --config config.yaml --own-certificates', does: 'the webhook, as the chart starts it' },
  ],
  operate: [{ line: 'operate --config config.yaml', does: 'the operator, as the chart starts it' }],
  'doctor cluster': [
    { line: 'doctor', does: 'the cluster of the current context, and the streams that are named in it' },
    { line: 'doctor cluster -n team-a --skip injector.dry-run streams', does: 'one namespace, no pods tried, no stream looked at' },
    { line: 'doctor -o json | jq \'.[] | select(.state == "problem")\'', does: 'for a program' },
  ],
  'doctor aws': [{ line: "doctor aws --sink 'firehose://steno?region=eu-west-1'", does: 'a stream and the bucket that it delivers to' }],
  completion: [
    { line: 'completion bash > ~/.local/share/bash-completion/completions/steno', does: 'bash, with the package bash-completion' },
    { line: 'completion zsh > ~/.zfunc/_steno', does: 'zsh; ~/.zfunc must be in fpath before compinit' },
    { line: 'completion fish > ~/.config/fish/completions/steno.fish', does: 'fish' },
  ],
}

export function examplesOf(path: string): readonly Example[] {
  return EXAMPLES[path] ?? []
}

/** A command and all below it, each with its name below the program. Those that only hold others are left out. */
export function runnable(program: Command): { readonly path: string; readonly command: Command }[] {
  const below = (command: Command, path: string): { readonly path: string; readonly command: Command }[] =>
    command.commands.length === 0 ? [{ path, command }] : command.commands.flatMap(each => below(each, `${path} ${each.name()}`.trim()))
  return below(program, '')
}

/** What is true of every command. */
export const ENDING = `Data goes to standard output, everything else to standard error.
Exit codes: 0 fine; 1 failed, nothing found, incomplete or broken; 2 wrong usage.
STENO_ARCHIVE is where recordings are when no --archive says it. NO_COLOR turns colour off.`

/** Adds the examples to the help of every command, those of all below it to one that only holds others, and what holds for all to that of the program. */
export function addExamples(program: Command): void {
  program.addHelpText('after', `\n${ENDING}`)
  for (const command of program.commands) {
    const below = runnable(command).map(({ path, command: each }) => ({ each, examples: examplesOf(`${command.name()} ${path}`.trim()) }))
    for (const { each, examples } of below) addText(program.name(), each, examples)
    if (command.commands.length > 0) addText(program.name(), command, below.flatMap(({ examples }) => examples))
  }
}

function addText(name: string, command: Command, examples: readonly Example[]): void {
  const text = examples.map(({ line, does }) => `  ${name} ${line}\n      ${does}`).join('\n')
  command.addHelpText('after', `\nExamples:\n${text}`)
}
