/** docs/cli.md from the definition of the program. Pure. */

import type { Argument, Command, Option } from 'commander'

import { ENDING, examplesOf, runnable } from '../../src/cli/examples.ts'

export function cliReference(program: Command): string {
  return [
    '# Command line',
    '',
    'Made by `npm run docs` from the program; do not edit. `steno COMMAND --help` says the same.',
    '',
    ...ENDING.split('\n'),
    '',
    ...runnable(program).flatMap(({ path, command }) => section(`${program.name()} ${path}`, path, command)),
  ].join('\n')
}

function section(name: string, path: string, command: Command): string[] {
  return [
    `## ${name}`,
    '',
    `${sentence(command.description())}`,
    '',
    '```sh',
    `${name} ${command.usage()}`,
    '```',
    '',
    ...(command.registeredArguments.some(each => each.description !== '' || each.argChoices !== undefined) ? ['| argument | what |', '|---|---|', ...command.registeredArguments.map(argumentRow), ''] : []),
    ...(command.options.length === 0 ? [] : ['| option | what | default |', '|---|---|---|', ...command.options.filter(each => !each.hidden).map(optionRow), '']),
    '```sh',
    ...examplesOf(path).flatMap(({ line, does }) => [`# ${does}`, `steno ${line}`]),
    '```',
    '',
  ]
}

function argumentRow(argument: Argument): string {
  return `| \`${argument.name()}${argument.variadic ? '…' : ''}\` | ${cell(argument.description, argument.argChoices)}${argument.required ? '' : ' (may be left out)'} |`
}

function optionRow(option: Option): string {
  const standard: unknown = option.defaultValue
  return `| \`${option.flags}\` | ${cell(option.description, option.argChoices)}${option.mandatory ? '; required' : ''} | ${typeof standard === 'string' ? `\`${standard}\`` : ''} |`
}

function cell(description: string, choices: readonly string[] | undefined): string {
  const values = (choices ?? []).map(each => `\`${each}\``).join(', ')
  return [description, values].filter(each => each !== '').join(': ').replaceAll('|', String.raw`\|`)
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}
