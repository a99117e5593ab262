package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// entry is one object in the table of contents of pg_dump's custom format. It holds the object's
// statements as strings of their own, so that no text inside of one can be mistaken for framing.
type entry struct {
	number                   int
	dependencies             []string // numbers of other entries
	kind, schema, tag, owner string
	create, drop             string
	accessMethod             string
	class, oid               uint32 // in the server's catalogs; 0 for parts that have no row of their own
}

// archive reads the custom format's header and table of contents. The format has been the same
// since PostgreSQL 12, except for two fields.
type archive struct {
	data    []byte
	intSize int
	err     error
}

var errArchive = errors.New("pg_dump's archive has a form that is not known")

// readArchive returns the entries in the order in which pg_dump would restore them.
func readArchive(data []byte) ([]entry, error) {
	if len(data) < 11 || !bytes.HasPrefix(data, []byte("PGDMP")) {
		return nil, errArchive
	}
	major, minor := data[5], data[6]
	version := int(major)*100 + int(minor)
	if version < 114 || version > 116 {
		return nil, fmt.Errorf("%w: version %d.%d", errArchive, major, minor)
	}
	a := &archive{data: data[11:], intSize: int(data[8])}
	offSize := int(data[9])
	if version >= 115 {
		a.bytes(1) // compression
	} else {
		a.int()
	}
	for range 7 { // when it was made
		a.int()
	}
	for range 3 { // database, versions
		a.string()
	}
	var entries []entry
	for n := a.int(); n > 0 && a.err == nil; n-- {
		var e entry
		e.number = a.int()
		a.int() // has data
		e.class, e.oid = a.number(), a.number()
		e.tag = a.string()
		e.kind = a.string()
		a.int() // section
		e.create = a.string()
		e.drop = a.string()
		a.string() // COPY
		e.schema = a.string()
		a.string() // tablespace
		e.accessMethod = a.string()
		if version >= 116 {
			a.int() // pg_class.relkind
		}
		e.owner = a.string()
		a.string() // WITH OIDS
		for {
			number, ok := a.dependency()
			if !ok {
				break
			}
			e.dependencies = append(e.dependencies, number)
		}
		a.bytes(1 + offSize) // where the data is
		entries = append(entries, e)
	}
	return entries, a.err
}

func (a *archive) bytes(n int) []byte {
	if a.err != nil || n < 0 || n > len(a.data) {
		a.err = errArchive
		return nil
	}
	b := a.data[:n]
	a.data = a.data[n:]
	return b
}

// int reads a sign and a little-endian number.
func (a *archive) int() int {
	b := a.bytes(1 + a.intSize)
	if a.err != nil {
		return 0
	}
	var wide [8]byte
	copy(wide[:], b[1:])
	n := int(binary.LittleEndian.Uint64(wide[:]))
	if b[0] != 0 {
		return -n
	}
	return n
}

// string reads a length and that many bytes. A length below zero stands for no string.
func (a *archive) string() string {
	n := a.int()
	if n <= 0 {
		return ""
	}
	return string(a.bytes(n))
}

// number reads an unsigned number that is written as text.
func (a *archive) number() uint32 {
	n, err := strconv.ParseUint(a.string(), 10, 32)
	if err != nil && a.err == nil {
		a.err = errArchive
	}
	return uint32(n)
}

// dependency reads the next dependency. It returns false after the last one.
func (a *archive) dependency() (string, bool) {
	n := a.int()
	if n < 0 || a.err != nil {
		return "", false
	}
	return string(a.bytes(n)), a.err == nil
}
