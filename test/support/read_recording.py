"""An independent reader and verifier, written from docs/recording-format.md alone, with the standard library only.

    read_recording.py PATH    prints {"verdict": ..., "sessions": {id: frames}, "writers": {id: head or null}} for a folder or a file
    read_recording.py -       the same for each line of standard input, which is a path; a line of output for each
"""

import hashlib
import json
import math
import os
import re
import struct
import sys
import zlib

MAX_LINE = 16 * 1024 * 1024
MAX_DEPTH = 64
WINDOW = 2 * 1024 * 1024
SAFE = 2 ** 53
if hasattr(sys, 'set_int_max_str_digits'):
    sys.set_int_max_str_digits(0)
ID = r'[\x21\x23-\x5b\x5d-\x7e]{1,255}'
NUMBER = r'0|[1-9][0-9]{0,15}'
TIME = r'[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z'
HEAD = re.compile((
    r'\{"writer":"(' + ID + r')","seq":(' + NUMBER + r'),"time":"(' + TIME + r')","elapsedUs":(' + NUMBER + r'),'
    r'"kind":"([a-z][a-z0-9.-]{0,63})","salt":"([0-9a-f]{16})"(?:,"session":"(' + ID + r')")?(?:,"exchange":(' + NUMBER + r'))?[,}]'
).encode())
OWN = re.compile(rb'\{"kind":"(segment|seal|export|leaves|cleaned)"')
HASH = re.compile(r'[0-9a-f]{64}')
WRITER = re.compile(ID)
MEMBER = b'\x1f\x8b\x08\x04'


def sha(data):
    return hashlib.sha256(data).digest()


# Section 2: the fields of each kind. '?' after a name: it may be missing.

def text(value):
    return isinstance(value, str)


def flag(value):
    return isinstance(value, bool)


def any_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(value):
    return any_number(value) and math.isfinite(value) and value >= 0


def one_of(*allowed):
    return lambda value: value in allowed and isinstance(value, str)


def list_of(check):
    return lambda value: isinstance(value, list) and all(check(each) for each in value)


def shape(**fields):
    return lambda value: isinstance(value, dict) and problem(fields, value) is None


def problem(fields, value):
    for name, check in fields.items():
        optional, key = name.endswith('_'), name.rstrip('_')
        if key not in value:
            if not optional:
                return key
        elif not check(value[key]):
            return key
    return None


SIDE = one_of('client', 'server')
RPC_TYPE = one_of('request', 'response', 'notification')


def rpc_id(value):
    return value is None or text(value) or any_number(value) or shape(number=text)(value)


def text_map(value):
    return isinstance(value, dict) and all(text(each) for each in value.values())


def headers(value):
    return isinstance(value, dict) and all(text(each) or list_of(text)(each) for each in value.values())


CLIENT = shape(name=text, version_=text)
IDENTITY = shape(issuer_=text, subject_=text, clientId_=text, scopes_=list_of(text), groups_=list_of(text), token_=text, verified=flag)
LINKS = list_of(shape(type=text, id=text))
MASKED = list_of(shape(path=text, bytes=number, hmac=text))
EVENT = shape(id_=text, type_=text)
BODY = {'body_': text, 'base64_': text, 'bytes_': number}
KINDS = {
    'writer.start': {'format': number, 'steno': text, 'host': text, 'pid': number, 'pod_': text, 'namespace_': text, 'node_': text, 'image_': text, 'policy_': shape(name=text, hash=text), 'labels_': text_map, 'recovered': list_of(shape(writer=text, frames=number, state=text))},
    'writer.stop': {'reason': text},
    'session.start': {'basis': one_of('mcp', 'conversation', 'trace', 'idle'), 'server': shape(name=text, url=text, workload_=text, pod_=text, port_=number), 'client_': CLIENT, 'identity_': IDENTITY, 'foreign_': flag},
    'session.end': {'reason': text, 'totals': shape(exchanges=number, calls=number, errors=number, bytes=number)},
    'exchange.start': {'method': text, 'target': text, 'headers': headers, 'peer_': text, 'era': text, 'version_': text, 'mismatch_': flag, 'links_': LINKS, 'client_': CLIENT, 'identity_': IDENTITY},
    'exchange.end': {'status': number, 'headers': headers, 'durationUs': number, 'requestBytes': number, 'responseBytes': number, 'events_': number, 'comments_': number, 'outcome': one_of('ok', 'error', 'denied', 'cancelled', 'cut'), 'reason_': text},
    'mcp': dict(BODY, **{'from': SIDE, 'type': RPC_TYPE, 'rpcId_': rpc_id, 'method_': text, 'name_': text, 'isError_': flag, 'errorCode_': any_number, 'resultType_': text, 'batch_': number, 'event_': EVENT, 'links_': LINKS, 'masked_': MASKED, 'duplicateKeys_': list_of(lambda value: True), 'more_': flag}),
    'http': dict(BODY, **{'from': SIDE, 'contentType_': text, 'reason_': text, 'event_': EVENT, 'masked_': MASKED, 'more_': flag}),
    'body': dict(BODY, **{'of': number, 'part': number, 'last_': flag, 'sha256_': text, 'late_': shape(type_=RPC_TYPE, rpcId_=rpc_id, method_=text, name_=text, isError_=flag, errorCode_=any_number)}),
    'access': {'action': text, 'namespace': text, 'pod': text, 'container_': text, 'image_': text, 'user': text, 'groups_': list_of(text), 'program_': text, 'arguments_': number, 'allowed': flag, 'reason_': text},
    'policy': {'name': text, 'hash': text, 'changed': list_of(text), 'pending_': list_of(text)},
    'gap': {'reason': text, 'detail_': text, 'count_': number, 'bytes_': number, 'of_': text, 'fromSeq_': number, 'toSeq_': number, 'fromTime_': text, 'toTime_': text},
}


class Newer(Exception):
    """A format that this reader does not know."""


class Unread(Exception):
    """A line that is not as the document says."""


def refuse_constant(name):
    raise ValueError(name)


def deeper(value, levels):
    if not isinstance(value, (dict, list)):
        return False
    return levels == 0 or any(deeper(each, levels - 1) for each in (value.values() if isinstance(value, dict) else value))


def parse(raw):
    if len(raw) > MAX_LINE:
        raise Unread('longer than a line may be')
    try:
        value = json.loads(raw.decode('utf-8'), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as cause:
        raise Unread('not JSON') from cause
    if not isinstance(value, dict) or deeper(value, MAX_DEPTH):
        raise Unread('no object, or nested too deep')
    return value


def refuse_newer(value):
    if any_number(value.get('format')) and value['format'] > 1:
        raise Newer('format %s needs a newer reader' % value['format'])


def frame_fields(raw, value):
    """Checks a frame's fields. The head was matched at its beginning."""
    head = HEAD.match(raw)
    if not head:
        raise Unread('the head is not in its order and form')
    stated = [group.decode() if group is not None else None for group in head.groups()]
    for key, found in zip(('writer', 'seq', 'time', 'elapsedUs', 'kind', 'salt', 'session', 'exchange'), stated):
        expected = int(found) if key in ('seq', 'elapsedUs', 'exchange') and found is not None else found
        if value.get(key) != expected or (expected is None and key in value):
            raise Unread('a key of the head stands twice')
        if isinstance(expected, int) and expected >= SAFE:
            raise Unread('a number is out of range')
    if value['kind'] == 'writer.start':
        refuse_newer(value)
    if value['kind'] in KINDS and problem(KINDS[value['kind']], value) is not None:
        raise Unread('a field is missing or of a wrong type')
    return value


def is_count(value):
    return any_number(value) and math.isfinite(value) and value == int(value) and 0 <= value < SAFE


def is_writer(value):
    return text(value) and WRITER.fullmatch(value) is not None


def is_hash(value):
    return text(value) and HASH.fullmatch(value) is not None


def is_hash_or_null(value):
    return value is None or is_hash(value)


def own_line(raw, value):
    """A line that is no frame: its kind, when its fields are right."""
    match = OWN.match(raw)
    kind = match.group(1).decode() if match else None
    if kind is None or value.get('kind') != kind:
        raise Unread('neither a frame nor a line of the format')
    get = value.get
    if kind in ('segment', 'export'):
        refuse_newer(value)
    if kind == 'segment':
        right = get('format') == 1 and not flag(get('format')) and is_writer(get('writer')) and is_count(get('firstSeq')) and 'previous' in value and is_hash_or_null(get('previous'))
    elif kind == 'seal':
        right = is_writer(get('writer')) and is_count(get('lastSeq')) and is_count(get('frames')) and 'head' in value and is_hash_or_null(get('head'))
    elif kind == 'export':
        right = get('format') == 1 and text(get('session')) and flag(get('cleaned')) and isinstance(get('writers'), list) and all(
            isinstance(each, dict) and is_writer(each.get('writer')) and is_count(each.get('firstSeq')) and is_count(each.get('lastSeq')) and is_hash_or_null(each.get('previous', 0)) and is_hash_or_null(each.get('head', 0)) for each in value['writers'])
    elif kind == 'leaves':
        right = is_writer(get('writer')) and is_count(get('fromSeq')) and isinstance(get('sha256'), list) and 0 < len(value['sha256']) <= 256 and all(is_hash(each) for each in value['sha256'])
    else:
        right = is_hash(get('leaf')) and is_count(get('changes')) and isinstance(get('frame'), dict)
        if right:
            frame_fields(json.dumps(value['frame'], separators=(',', ':'), ensure_ascii=False).encode('utf-8', 'surrogatepass'), value['frame'])
    if not right:
        raise Unread('a %s line with wrong fields' % kind)
    return kind


# Section 5: members.

def index_of(data, at):
    """The index of the member at an offset, or None."""
    if data[at:at + 4] != MEMBER or len(data) < at + 12:
        return None
    size = struct.unpack_from('<H', data, at + 10)[0]
    extra = data[at + 12:at + 12 + size]
    if len(extra) < size:
        return None
    pos = 0
    while pos + 4 <= size:
        length = struct.unpack_from('<H', extra, pos + 2)[0]
        if pos + 4 + length > size:
            return None
        if extra[pos:pos + 2] == b'ST':
            return read_index(extra[pos + 4:pos + 4 + length], 12 + size)
        pos += 4 + length
    return None


def read_index(data, data_offset):
    try:
        if len(data) < 29 or data[0] != 1:
            return None
        flags, length, first, last, frames, n = struct.unpack_from('<xBIQQIB', data)
        pos = 27 + n
        count = struct.unpack_from('<H', data, pos)[0]
        pos += 2
        sessions = []
        for _ in range(count):
            size = data[pos]
            if pos + 1 + size > len(data):
                return None
            sessions.append(data[pos + 1:pos + 1 + size].decode('latin-1'))
            pos += 1 + size
    except (struct.error, IndexError):
        return None
    if first >= SAFE or last >= SAFE or length < data_offset + 8:
        return None
    return {'any': flags & 1 == 1, 'length': length, 'first': first, 'last': last, 'frames': frames, 'writer': data[27:27 + n].decode('latin-1'), 'sessions': sessions}


def deflate_offset(data, at):
    """Where the deflate data of the gzip member at an offset start. Raises when none starts here."""
    if data[at:at + 3] != b'\x1f\x8b\x08' or len(data) < at + 10 or data[at + 3] & 0xe0:
        raise ValueError('no member')
    flags, pos = data[at + 3], at + 10
    if flags & 4:
        pos += 2 + struct.unpack_from('<H', data, pos)[0]
    for bit in (8, 16):
        if flags & bit:
            pos = data.index(b'\0', pos) + 1
    return pos + (2 if flags & 2 else 0)


def members(data):
    """Yields (payload or None when damaged, index or None, true length)."""
    at = 0
    while at < len(data):
        index = index_of(data, at)
        try:
            engine = zlib.decompressobj(-15)
            payload = engine.decompress(data[deflate_offset(data, at):])
            if not engine.eof or len(engine.unused_data) < 8:
                raise ValueError('cut')
            if struct.unpack_from('<II', engine.unused_data) != (zlib.crc32(payload), len(payload) % 2 ** 32):
                raise ValueError('CRC-32 or length')
            end = len(data) - len(engine.unused_data) + 8
            yield payload, index, end - at
            at = end
        except (ValueError, zlib.error, struct.error):
            yield None, index, 0
            at = data.find(MEMBER, at + 1)
            while at >= 0 and index_of(data, at) is None:
                at = data.find(MEMBER, at + 1)
            if at < 0:
                return


def holds_members(data):
    """Whether a file holds members: damage to its first bytes must not hide those that follow."""
    if data[:2] == b'\x1f\x8b' or data == b'\x1f':
        return True
    if not data or data[:1] == b'{':
        return False
    at = data.find(MEMBER, 0, WINDOW + len(MEMBER))
    while 0 <= at < WINDOW:
        if index_of(data, at) is not None:
            return True
        at = data.find(MEMBER, at + 1, WINDOW + len(MEMBER))
    return False


class Recording:
    def __init__(self, alone):
        self.alone = alone  # one file: it may be an export
        self.lines = {}  # writer -> seq -> (leaf, frame or None)
        self.before = {}  # writer -> seq -> claimed heads before seq
        self.after = {}  # writer -> seq -> claimed heads after seq
        self.start = {}  # writer -> first seq (exports)
        self.damaged = []  # (writer, first, last) that a damaged member's index names
        self.export = None
        self.broken = False
        self.incomplete = False
        self.cleaned = False

    def frame(self, writer, seq, leaf, frame):
        lines = self.lines.setdefault(writer, {})
        known = lines.setdefault(seq, (leaf, frame))
        if known[0] != leaf:
            self.broken = True
        if known[1] is None:
            lines[seq] = (leaf, frame)

    def claim(self, where, writer, seq, value):
        claims = where.setdefault(writer, {}).setdefault(seq, set())
        if value is not None:
            claims.add(bytes.fromhex(value))

    def payload(self, payload, is_member):
        """Frames seen, or None when a part of it is of a newer format."""
        seen, segment = [], None
        for raw in payload.split(b'\n'):
            if not raw:
                continue
            head = HEAD.match(raw) if len(raw) <= MAX_LINE else None
            value, kind = None, None
            try:
                value = parse(raw)
                if raw.startswith(b'{"writer":'):
                    frame_fields(raw, value)
                else:
                    kind = own_line(raw, value)
                    if kind in ('export', 'leaves', 'cleaned') and not self.alone:
                        raise Unread('a line of an export')
            except Unread:
                self.incomplete = True
                value, kind = None, None
            except Newer:
                self.incomplete = True
                seen = None
                break
            if head:
                writer, seq = head.group(1).decode(), int(head.group(2))
                self.frame(writer, seq, sha(raw), value)
                session = head.group(7)
                seen.append((writer, seq, session.decode() if session is not None else None))
                if segment is not None:
                    if (writer, seq) != (segment['writer'], segment['next']):
                        self.broken = True
                    segment['next'] = seq + 1
            elif kind == 'segment':
                if segment is not None:
                    self.broken = True
                segment = {'writer': value['writer'], 'first': value['firstSeq'], 'next': value['firstSeq']}
                self.claim(self.before, value['writer'], value['firstSeq'], value['previous'])
            elif kind == 'seal':
                fits = segment is None or (segment['writer'] == value['writer'] and value['lastSeq'] == segment['next'] - 1 and value['frames'] == segment['next'] - segment['first'])
                if not fits:
                    self.broken = True
                self.claim(self.after, value['writer'], value['lastSeq'], value['head'])
                segment = None
            elif kind == 'export' and self.export is None:
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
        if is_member and segment is not None:
            self.broken = True
        return seen

    def file(self, path):
        with open(path, 'rb') as source:
            data = source.read()
        if not holds_members(data):
            self.payload(self.whole_lines(data), False)
            return
        for payload, index, length in members(data):
            if payload is None:
                if index is None:
                    self.incomplete = True
                else:
                    self.damaged.append((index['writer'], index['first'], index['last']))
                continue
            seen = self.payload(payload, True)
            if index is None or seen is None:
                continue
            seqs = [seq for _, seq, _ in seen]
            if not seqs:
                self.broken = True
                continue
            true = {'length': length, 'first': min(seqs), 'last': max(seqs), 'frames': len(seqs), 'writer': seen[0][0]}
            wrong = any(index[key] != true[key] for key in true) or any(writer != index['writer'] for writer, _, _ in seen)
            sessions = {session for _, _, session in seen if session is not None}
            if wrong or (not index['any'] and (set(index['sessions']) != sessions or len(index['sessions']) != len(sessions))):
                self.broken = True

    def whole_lines(self, data):
        """A last line without its newline counts only when it can be read."""
        start = data.rfind(b'\n') + 1
        last = data[start:]
        if not last:
            return data
        try:
            value = parse(last)
            frame_fields(last, value) if last.startswith(b'{"writer":') else own_line(last, value)
        except Newer:
            pass
        except Unread:
            self.incomplete = True
            return data[:start]
        return data

    def heads(self):
        for writer, first, last in self.damaged:
            here = self.lines.get(writer, {})
            if first > last or sum(1 for seq in here if first <= seq <= last) != last - first + 1:
                self.incomplete = True
        heads = {}
        for writer in sorted(set(self.lines) | set(self.before) | set(self.after)):
            lines, before, after = self.lines.get(writer, {}), self.before.get(writer, {}), self.after.get(writer, {})
            if not lines:
                self.incomplete = True
            first = self.start.get(writer, 0)
            head = sha(b'steno/1' + writer.encode()) if first == 0 else None
            expected, confirmed = first, first
            for seq in sorted(set(lines) | set(before) | set(after)):
                if seq < first:
                    continue
                claims = before.get(seq, set())
                if len(claims) > 1:
                    self.broken = True
                claimed = next(iter(claims), None)
                if seq == expected and claimed is not None:
                    if head is not None and head != claimed:
                        self.broken = True
                    elif head is not None:
                        confirmed = seq
                    head = head or claimed
                if seq in lines:
                    if seq > expected:
                        self.incomplete = True
                        head, confirmed = claimed, seq
                    head = None if head is None else sha(head + lines[seq][0])
                    expected = seq + 1
                ends = after.get(seq, set())
                if seq in after and seq not in lines:
                    # Frames are missing here. The chain goes on from what the seal claims.
                    self.incomplete = True
                    head, expected, confirmed = next(iter(ends), None), seq + 1, seq + 1
                elif ends and head is not None:
                    if ends != {head}:
                        self.broken = True
                    confirmed = expected
            if confirmed < expected:
                self.incomplete = True
            kinds = [frame['kind'] for _, frame in lines.values() if frame is not None]
            if 'gap' in kinds or (self.export is None and 'writer.stop' not in kinds):
                self.incomplete = True
            heads[writer] = None if head is None else head.hex()
        if self.export is not None and not any(frame is not None and frame['kind'] == 'session.end' for lines in self.lines.values() for _, frame in lines.values()):
            self.incomplete = True
        return heads

    def sessions(self):
        owner, counts = {}, {}
        frames = [frame for lines in self.lines.values() for _, frame in lines.values() if frame is not None]
        for frame in frames:
            if 'session' in frame and 'exchange' in frame:
                owner.setdefault((frame['writer'], frame['exchange']), frame['session'])
        for frame in frames:
            session = frame.get('session')
            if session is None and 'exchange' in frame:
                session = owner.get((frame['writer'], frame['exchange']), 'ungrouped')
            if session is not None:
                counts[session] = counts.get(session, 0) + 1
        return counts


def files_of(path):
    if not os.path.isdir(path):
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in sorted(names):
            full = os.path.join(folder, name)
            if not name.startswith('.') and name.endswith(('.jsonl', '.jsonl.gz')) and os.path.isfile(full) and not os.path.islink(full):
                found.append(full)
    return found


def read(path):
    files = files_of(path)
    recording = Recording(len(files) == 1)
    for each in files:
        recording.file(each)
    heads = recording.heads()
    verdict = 'broken' if recording.broken else 'incomplete' if recording.incomplete or not heads else 'consistent'
    return json.dumps({'verdict': verdict, 'sessions': recording.sessions(), 'writers': heads}, sort_keys=True)


if sys.argv[1] == '-':
    for line in sys.stdin:
        print(read(line.rstrip('\n')), flush=True)
else:
    print(read(sys.argv[1]))
