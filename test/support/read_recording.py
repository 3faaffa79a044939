"""An independent reader and verifier, written from docs/recording-format.md alone, with the standard library only.

Prints {"verdict": ..., "sessions": {id: frames}, "writers": {id: head or null}} for a folder or a file.
"""

import hashlib
import json
import os
import re
import struct
import sys
import zlib

HEAD = re.compile(
    rb'\{"writer":"([\x21\x23-\x5b\x5d-\x7e]{1,255})","seq":(0|[1-9][0-9]*),"time":"([^"]{27})","elapsedUs":(0|[1-9][0-9]*),'
    rb'"kind":"([a-z][a-z0-9.-]*)","salt":"([0-9a-f]{16})"(?:,"session":"([\x21\x23-\x5b\x5d-\x7e]{1,255})")?(?:,"exchange":(0|[1-9][0-9]*))?[,}]'
)


def sha(data):
    return hashlib.sha256(data).digest()


def index_of(extra):
    at = 0
    while at + 4 <= len(extra):
        size = struct.unpack_from('<H', extra, at + 2)[0]
        if extra[at:at + 2] == b'ST' and extra[at + 4] == 1:
            data = extra[at + 4:at + 4 + size]
            flags, length, first, last, frames, n = struct.unpack_from('<xBIQQIB', data)
            writer = data[27:27 + n].decode('ascii')
            count = struct.unpack_from('<H', data, 27 + n)[0]
            sessions, pos = set(), 29 + n
            for _ in range(count):
                sessions.add(data[pos + 1:pos + 1 + data[pos]].decode('ascii', 'replace'))
                pos += 1 + data[pos]
            return {'any': flags & 1 == 1, 'length': length, 'first': first, 'last': last, 'frames': frames, 'writer': writer, 'sessions': sessions}
        at += 4 + size
    return None


def members(data):
    """Yields (payload or None when damaged, index or None, true length)."""
    at = 0
    while at < len(data):
        index = None
        try:
            if data[at:at + 4] == b'\x1f\x8b\x08\x04':
                size = struct.unpack_from('<H', data, at + 10)[0]
                index = index_of(data[at + 12:at + 12 + size])
            engine = zlib.decompressobj(31)
            payload = engine.decompress(data[at:])
            if not engine.eof:
                raise ValueError('cut')
            end = len(data) - len(engine.unused_data)
            yield payload, index, end - at
            at = end
        except (ValueError, zlib.error, struct.error, IndexError):
            yield None, index, 0
            at += 1
            while at < len(data):
                at = data.find(b'\x1f\x8b\x08\x04', at)
                if at < 0:
                    return
                size = struct.unpack_from('<H', data[at:at + 12] + b'\0' * 12, 10)[0]
                if index_of(data[at + 12:at + 12 + size]) is not None:
                    break
                at += 1


class Recording:
    def __init__(self):
        self.lines = {}  # writer -> seq -> (leaf, line or None)
        self.before = {}  # writer -> seq -> claimed heads before seq
        self.after = {}  # writer -> seq -> claimed heads after seq
        self.start = {}  # writer -> first seq (exports)
        self.export = None
        self.broken = False
        self.incomplete = False
        self.cleaned = False

    def frame(self, writer, seq, leaf, line):
        known = self.lines.setdefault(writer, {}).setdefault(seq, (leaf, line))
        if known[0] != leaf:
            self.broken = True
        if known[1] is None:
            self.lines[writer][seq] = (leaf, line)

    def claim(self, where, writer, seq, value):
        if value is not None:
            where.setdefault(writer, {}).setdefault(seq, set()).add(bytes.fromhex(value))

    def payload(self, payload):
        seen = []
        segment = None
        for raw in payload.split(b'\n'):
            if not raw:
                continue
            head = HEAD.match(raw)
            try:
                value = json.loads(raw.decode('utf-8'))
            except ValueError:
                self.incomplete = True
                continue
            if head:
                writer, seq = head.group(1).decode(), int(head.group(2))
                self.frame(writer, seq, sha(raw), value)
                seen.append((writer, seq, value.get('session')))
                if segment is not None:
                    if (writer, seq) != (segment['writer'], segment['next']):
                        self.broken = True
                    segment['next'] = seq + 1
                continue
            kind = value.get('kind') if isinstance(value, dict) and not raw.startswith(b'{"writer":') else None
            if kind in ('segment', 'export') and value['format'] > 1:
                sys.exit('format %d needs a newer reader' % value['format'])
            if kind == 'segment':
                segment = {'writer': value['writer'], 'first': value['firstSeq'], 'next': value['firstSeq']}
                self.claim(self.before, value['writer'], value['firstSeq'], value['previous'])
            elif kind == 'seal':
                fits = segment is None or (segment['writer'] == value['writer'] and value['lastSeq'] == segment['next'] - 1 and value['frames'] == segment['next'] - segment['first'])
                if not fits:
                    self.broken = True
                self.claim(self.after, value['writer'], value['lastSeq'], value['head'])
                segment = None
            elif kind == 'export':
                self.export = value
                for each in value['writers']:
                    self.start[each['writer']] = each['firstSeq']
                    self.claim(self.before, each['writer'], each['firstSeq'], each['previous'])
                    self.claim(self.after, each['writer'], each['lastSeq'], each['head'])
            elif kind == 'leaves':
                for at, leaf in enumerate(value['sha256']):
                    self.frame(value['writer'], value['fromSeq'] + at, bytes.fromhex(leaf), None)
            elif kind == 'cleaned':
                self.cleaned = True
                frame = value['frame']
                self.frame(frame['writer'], frame['seq'], bytes.fromhex(value['leaf']), frame)
            else:
                self.incomplete = True
        return seen

    def file(self, path):
        with open(path, 'rb') as source:
            data = source.read()
        if data[:2] != b'\x1f\x8b':
            self.payload(data)
            return
        for payload, index, length in members(data):
            if payload is None:
                self.incomplete = True
                continue
            seen = self.payload(payload)
            if index is None:
                continue
            seqs = [seq for _, seq, _ in seen]
            true = {'length': length, 'first': min(seqs), 'last': max(seqs), 'frames': len(seqs), 'writer': seen[0][0]}
            wrong = any(index[key] != true[key] for key in true) or any(writer != index['writer'] for writer, _, _ in seen)
            if wrong or (not index['any'] and index['sessions'] != {session for _, _, session in seen if session is not None}):
                self.broken = True

    def heads(self):
        heads = {}
        for writer, lines in self.lines.items():
            first = self.start.get(writer, 0)
            claims = self.before.get(writer, {})
            head = sha(b'steno/1' + writer.encode()) if first == 0 else next(iter(claims.get(first, [None])))
            expected, confirmed = first, first
            for seq in sorted(lines):
                if seq != expected:
                    self.incomplete = True
                    head = next(iter(claims.get(seq, [None])))
                elif any(each != head for each in claims.get(seq, ())) and head is not None:
                    self.broken = True
                leaf = lines[seq][0]
                head = None if head is None else sha(head + leaf)
                expected = seq + 1
                for each in self.after.get(writer, {}).get(seq, ()):
                    confirmed = expected
                    if head is not None and each != head:
                        self.broken = True
            if confirmed < expected or any(seq >= expected for seq in self.after.get(writer, {})):
                self.incomplete = True
            kinds = [line['kind'] for _, line in lines.values() if line is not None]
            if 'gap' in kinds or (self.export is None and 'writer.stop' not in kinds):
                self.incomplete = True
            heads[writer] = None if head is None else head.hex()
        if self.export is not None and not any(line is not None and line['kind'] == 'session.end' for lines in self.lines.values() for _, line in lines.values()):
            self.incomplete = True
        return heads

    def sessions(self):
        owner, counts = {}, {}
        frames = [line for lines in self.lines.values() for _, line in lines.values() if line is not None]
        for line in frames:
            if 'session' in line and 'exchange' in line:
                owner.setdefault((line['writer'], line['exchange']), line['session'])
        for line in frames:
            session = line.get('session')
            if session is None and 'exchange' in line:
                session = owner.get((line['writer'], line['exchange']), 'ungrouped')
            if session is not None:
                counts[session] = counts.get(session, 0) + 1
        return counts


def main(path):
    recording = Recording()
    if os.path.isdir(path):
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith('.'))
            for name in sorted(names):
                if not name.startswith('.') and name.endswith(('.jsonl', '.jsonl.gz')):
                    recording.file(os.path.join(folder, name))
    else:
        recording.file(path)
    heads = recording.heads()
    verdict = 'broken' if recording.broken else 'incomplete' if recording.incomplete or not heads else 'consistent'
    print(json.dumps({'verdict': verdict, 'sessions': recording.sessions(), 'writers': heads}, sort_keys=True))


main(sys.argv[1])
