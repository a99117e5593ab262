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
// where list and sort are strings with their length before them, and the tag is an HMAC of what
// comes before it, or a digest if the list has no keys. The digest finds accidents. A cursor that a
// client makes up passes it, and holds values that the server accepts like any others.

const (
	cursorVersion = 1
	tagSize       = 16
	// maxCursor bounds the work for one: a B-tree's entry has at most 2.7 kB.
	maxCursor = 8192
	minKey    = 16
)

const (
	flagBackward = 1 << iota
	flagEdge     // there are no values: the first page, or the last one if backward
)

// cursor is one that was decoded.
type cursor struct {
	sort     *sort
	backward bool
	edge     bool
	nulls    uint64
	values   []any
}

// digest identifies the order and the types of its columns.
func (s *sort) digest() (shape [8]byte) {
	h := sha256.New()
	for _, k := range s.keys {
		fmt.Fprintf(h, "%q %v %v %v %v\n", k.name, k.descending, k.nullsFirst, k.nullable, k.typ)
	}
	copy(shape[:], h.Sum(nil))
	return shape
}

// read appends the values of a row's columns to values.
func (s *sort) read(row reflect.Value, values []any) ([]any, uint64) {
	var nulls uint64
	for i, k := range s.keys {
		v, isNull := k.value(row)
		if isNull {
			nulls |= 1 << i
			values = append(values, nil)
			continue
		}
		values = append(values, v.Interface())
	}
	return values, nulls
}

// value returns the column of a row, without its pointer.
func (k *key) value(row reflect.Value) (v reflect.Value, isNull bool) {
	v = row.FieldByIndex(k.index)
	f := field{presence: required}
	if k.nullable {
		_, f.presence = presenceOf(v.Type())
	}
	switch f.presence {
	case byNil:
		if v.IsNil() {
			return v, true
		}
		if v.Kind() == reflect.Pointer {
			return v.Elem(), false
		}
	case byValid:
		return v, !v.FieldByName("Valid").Bool()
	case byOptional:
		inner, s := v.Interface().(optional).optional()
		return reflect.ValueOf(inner), s != present
	}
	return v, false
}

// cursors returns those of the pages after and before the one that was read.
func (c *list) cursors(r *request, rows reflect.Value, more bool, keys [][]byte) (next, prev string, err error) {
	came := r.variant.keyset // from a page that is on the other side
	after, before := more, came
	if r.variant.backward {
		after, before = came, more
	}
	if after {
		next, err = c.encode(r.sort, false, rows, rows.Len()-1, keys)
	}
	if before && err == nil {
		prev, err = c.encode(r.sort, true, rows, 0, keys)
	}
	return next, prev, err
}

// encode returns a cursor that starts at a row, or at the edge of the list if there are none.
func (c *list) encode(s *sort, backward bool, rows reflect.Value, at int, keys [][]byte) (string, error) {
	b := make([]byte, 0, 128)
	b = append(b, cursorVersion)
	b = appendString(b, c.name)
	b = appendString(b, s.name)
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
			if k.nullable {
				b = append(b, boolByte(isNull))
			}
			if isNull {
				continue
			}
			var err error
			if b, err = appendValue(b, v); err != nil {
				return "", fmt.Errorf("pgquery: list %s: no cursor can hold column %s: %w", c.name, k.name, err)
			}
		}
	}
	b = append(b, c.tag(b, keys[0])...)
	if base64.RawURLEncoding.EncodedLen(len(b)) > maxCursor {
		return "", fmt.Errorf("pgquery: list %s: a cursor of sort %s has more than %d bytes", c.name, s.name, maxCursor)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// tag returns the HMAC of b, or its digest for a list without keys.
func (c *list) tag(b, key []byte) []byte {
	if !c.signed {
		digest := sha256.Sum256(b)
		return digest[:tagSize]
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return mac.Sum(nil)[:tagSize]
}

// decode returns the cursor of a text, or nil for "". It is the only place that reads one: the
// types of its values are those of the row struct, never what the text says.
func (c *list) decode(text string, keys [][]byte) (*cursor, error) {
	fail := func(reason string) (*cursor, error) {
		return nil, &CursorError{List: c.name, Reason: reason}
	}
	if text == "" {
		return nil, nil
	}
	if len(text) > maxCursor || strings.ContainsAny(text, "\r\n") { // which the decoder passes over
		return fail("is cut or altered")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) <= tagSize {
		return fail("is cut or altered")
	}
	b, sent := b[:len(b)-tagSize], b[len(b)-tagSize:]
	if !slices.ContainsFunc(keys, func(key []byte) bool { return hmac.Equal(c.tag(b, key), sent) }) {
		return fail("is cut or altered, or its key is unknown")
	}
	d := decoder{b: b}
	if d.byte() != cursorVersion {
		return fail("is of another version")
	}
	if string(d.bytes()) != c.name {
		return fail("belongs to another list")
	}
	sortName := string(d.bytes())
	result := &cursor{}
	for i := range c.sorts {
		if c.sorts[i].name == sortName {
			result.sort = &c.sorts[i]
		}
	}
	shape := d.take(8)
	flags := d.byte()
	switch {
	case result.sort == nil:
		return fail("belongs to a sort that is not declared")
	case string(shape) != string(result.sort.shape[:]):
		return fail("is older than the declaration of its sort")
	case flags&^(flagBackward|flagEdge) != 0:
		return fail("is altered")
	}
	result.backward, result.edge = flags&flagBackward != 0, flags&flagEdge != 0
	if !result.edge {
		for i := range result.sort.keys {
			k := &result.sort.keys[i]
			if k.nullable && d.bool() {
				result.nulls |= 1 << i
				result.values = append(result.values, nil)
				continue
			}
			v := reflect.New(k.typ).Elem()
			d.value(v)
			result.values = append(result.values, v.Interface())
		}
	}
	if d.failed || len(d.b) > 0 {
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

// decoder reads a cursor. After its end everything is zero, and failed is set.
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
	if n <= 0 {
		d.failed, n = true, 0
	}
	d.take(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.failed, n = true, 0
	}
	d.take(n)
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.failed, d.b = true, nil
		return nil
	}
	return d.take(int(n))
}
