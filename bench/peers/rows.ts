/** An MCP server whose answers look like those of a tool that queries a database: keys that repeat, values that do not. The argument is the number of rows. */

import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { serveBelowParent } from '../support/ready.ts'

const WORDS = 'account invoice payment pending settled customer region north south order shipment delayed confirmed review manual automatic premium basic quarterly annual'.split(' ')
const ROWS = Number(process.argv[2] ?? 8)
const ID = /"id":(\d+)/

const word = (): string => WORDS[Math.floor(Math.random() * WORDS.length)] ?? ''

function row(): object {
  return {
    id: randomUUID(),
    name: `${word()} ${word()}`,
    status: word(),
    createdAt: new Date(1.7e12 + Math.floor(Math.random() * 6e10)).toISOString(),
    amount: Math.round(Math.random() * 1e6) / 100,
    note: Array.from({ length: 8 }, word).join(' '),
  }
}

/** Made ahead: what is measured is the recorder. */
const ANSWERS = Array.from({ length: 64 }, () => {
  const text = JSON.stringify(Array.from({ length: ROWS }, row))
  return `"result":{"content":[{"type":"text","text":${JSON.stringify(text)}}],"isError":false}}`
})

let next = 0
const server = createServer({ noDelay: true }, (req, res) => {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => {
    const answer = `{"jsonrpc":"2.0","id":${ID.exec(Buffer.concat(chunks).toString('latin1'))?.[1] ?? '0'},${ANSWERS[next++ % ANSWERS.length]}`
    res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(answer) }).end(answer)
  })
})
serveBelowParent(server)
