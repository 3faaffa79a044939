/** Plain data as YAML 1.2. Strings that are not plainly words are written as JSON strings, which YAML reads the same. */

import { escapeJson } from './printable.ts'

const WORD = /^[A-Za-z_/][\w./-]*( [\w./-]+)*$/
const RESERVED = /^(true|false|null|yes|no|on|off|y|n|nan|inf)$/i

export function toYaml(value: unknown, indent = ''): string {
  if (Array.isArray(value)) return value.length === 0 ? `${indent}[]\n` : value.map((each: unknown) => item(each, indent)).join('')
  if (isObject(value)) {
    const entries = Object.entries(value).filter(([, each]) => each !== undefined)
    return entries.length === 0 ? `${indent}{}\n` : entries.map(([key, each]) => entry(key, each, indent)).join('')
  }
  return `${indent}${scalar(value)}\n`
}

function item(value: unknown, indent: string): string {
  if (isEmptyOrScalar(value)) return `${indent}- ${toYaml(value).trimStart()}`
  return `${indent}- ${toYaml(value, `${indent}  `).slice(indent.length + 2)}`
}

function entry(key: string, value: unknown, indent: string): string {
  const name = `${indent}${scalar(key)}:`
  return isEmptyOrScalar(value) ? `${name} ${toYaml(value)}` : `${name}\n${toYaml(value, Array.isArray(value) ? indent : `${indent}  `)}`
}

function scalar(value: unknown): string {
  if (typeof value === 'string') return WORD.test(value) && !RESERVED.test(value) ? value : escapeJson(JSON.stringify(value))
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : 'null'
}

function isEmptyOrScalar(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : !isObject(value) || Object.values(value).every(each => each === undefined)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
