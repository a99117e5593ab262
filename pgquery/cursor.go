package pgquery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A cursor is base64url of
//
//	version | list | sort | shape of the sort | flags | values | tag
//
// where list and sort are strings with their length before them. The tag is an HMAC of everything
// before it, or a digest if the list has no keys. The digest catches accidents. A client can forge
// a cursor with a valid digest, but all its values are ones that the server accepts.

const (
	cursorVersion = 1
	tagSize       = 16
	// maxCursor limits the work for a cursor. An entry of a B-tree has at most 2.7 kB, but may be
	// compressed.
	maxCursor = 64 << 10
	minKey    = 16
)

const (
	flagBackward = 1 << iota
	flagEdge     // without values: the first page, or the last one if backward
)

// cursor is a place in the order of a list.
type cursor struct {
	sort     *sort
	backward bool
	values   []any  // of the columns of the sort; nil for null. None at the edge of the list
	nulls    uint64 // which of them are null
}

// start moves the cursor to a row.
func (c *cursor) start(row reflect.Value) {
	c.values, c.nulls = c.values[:0], 0
	for i := range c.sort.keys {
		v, isNull := c.sort.keys[i].value(row)
		if isNull {
			c.nulls |= 1 << i
			c.values = append(c.values, nil)
			continue
		}
		c.values = append(c.values, v.Interface())
	}
}

// value returns the column of a row, without its pointer.
func (k *key) value(row reflect.Value) (v reflect.Value, isNotThere bool) {
	v = row.FieldByIndex(k.index)
	if k.presence == byOptional {
		inner, s := v.Interface().(optional).optional()
		return reflect.ValueOf(inner), s != present
	}
	if isNull(v) {
		return v, true
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v, false
}

// digest identifies the order and the types of its columns.
func (s *sort) digest() (shape [8]byte) {
	h := sha256.New()
	for _, k := range s.keys {
		fmt.Fprintf(h, "%q %v %v %v %v\n", k.name, k.descending, k.nullsFirst, !k.isPlain(), k.typ)
	}
	copy(shape[:], h.Sum(nil))
	return shape
}

// cursors returns the cursors of the next and the previous page.
func (l *list) cursors(r *request, rows reflect.Value, more bool) (next, prev string, err error) {
	came := r.variant.Keyset // from a page that is on the other side
	after, before := more, came
	if r.backward {
		after, before = came, more
	}
	if after {
		next, err = l.encode(r.sort, false, rows, rows.Len()-1, r.signers[0])
	}
	if before && err == nil {
		prev, err = l.encode(r.sort, true, rows, 0, r.signers[0])
	}
	return next, prev, err
}

// encode returns a cursor that starts at a row, or at the edge of the list if there are none.
func (l *list) encode(s *sort, backward bool, rows reflect.Value, at int, signer []byte) (string, error) {
	b := append(make([]byte, 0, 128), cursorVersion)
	b = appendString(appendString(b, l.name), s.name)
	b = append(b, s.shape[:]...)
	flags := byte(0)
	if backward {
		flags |= flagBackward
	}
	if rows.Len() == 0 {
		b = append(b, flags|flagEdge)
	} else {
		b = append(b, flags)
		for i := range s.keys {
			k := &s.keys[i]
			v, isNull := k.value(rows.Index(at))
			if !k.isPlain() {
				b = append(b, boolByte(isNull))
			}
			if isNull {
				continue
			}
			var err error
			if b, err = appendValue(b, v); err != nil {
				return "", l.wrap(fmt.Errorf("no cursor can hold column %s: %w", k.name, err))
			}
		}
	}
	b = append(b, l.tag(b, signer)...)
	if base64.RawURLEncoding.EncodedLen(len(b)) > maxCursor {
		return "", l.wrap(fmt.Errorf("no cursor can hold the columns of sort %s: a row has %d bytes, and %d fit",
			s.name, len(b), maxCursor/4*3))
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// tag returns the HMAC of b, or its digest for a list without keys.
func (l *list) tag(b, key []byte) []byte {
	if !l.signed {
		digest := sha256.Sum256(b)
		return digest[:tagSize]
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return mac.Sum(nil)[:tagSize]
}

// decode parses a cursor. Only this function reads one. The row struct determines the types of the
// values, never the text.
func (l *list) decode(text string, keys [][]byte) (cursor, error) {
	var result cursor
	fail := func(reason string) (cursor, error) {
		return cursor{}, &CursorError{List: l.name, Reason: reason}
	}
	if len(text) > maxCursor || strings.ContainsAny(text, "\r\n") { // which the decoder passes over
		return fail("is cut or altered")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) <= tagSize {
		return fail("is cut or altered")
	}
	b, sent := b[:len(b)-tagSize], b[len(b)-tagSize:]
	if !slices.ContainsFunc(keys, func(key []byte) bool { return hmac.Equal(l.tag(b, key), sent) }) {
		return fail("is cut or altered, or its key is unknown")
	}
	d := decoder{b: b}
	if d.byte() != cursorVersion {
		return fail("is of another version")
	}
	if string(d.bytes()) != l.name {
		return fail("belongs to another list")
	}
	i := l.sortNamed(string(d.bytes()))
	if i < 0 {
		return fail("belongs to a sort that is not declared")
	}
	result.sort = &l.sorts[i]
	if string(d.take(8)) != string(result.sort.shape[:]) {
		return fail("is older than the declaration of its sort")
	}
	flags := d.byte()
	result.backward = flags&flagBackward != 0
	if flags&flagEdge == 0 {
		for i := range result.sort.keys {
			k := &result.sort.keys[i]
			if !k.isPlain() && d.bool() {
				result.nulls |= 1 << i
				result.values = append(result.values, nil)
				continue
			}
			v := reflect.New(k.typ).Elem()
			d.value(v)
			result.values = append(result.values, v.Interface())
		}
	}
	if d.failed || len(d.b) > 0 || flags > flagBackward|flagEdge {
		return fail("is altered")
	}
	return result, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// decoder reads a cursor. Beyond its end it returns zeros and sets failed.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.failed, d.b = true, nil
		return nil
	}
	taken := d.b[:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) bool() bool {
	b := d.byte()
	d.failed = d.failed || b > 1
	return b == 1
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.failed = d.failed || n <= 0
	d.take(max(n, 0))
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.failed = d.failed || n <= 0
	d.take(max(n, 0))
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	return d.take(int(min(n, maxCursor+1))) // which fails
}
