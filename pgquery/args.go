package pgquery

import (
	"fmt"
	"reflect"
	"strings"
)

// presence says how to leave out a field of an argument struct.
type presence uint8

const (
	required   presence = iota // it is always there
	byFlag                     // false: a filter without arguments is off
	byNil                      // a nil pointer, slice or map
	byValid                    // a struct with a field Valid bool, as in package pgtype
	byOptional                 // an Optional
)

// field is a field of an argument or row struct.
type field struct {
	name     string // the name in the tag, or of the field
	tagged   bool
	index    []int
	declared reflect.Type
	typ      reflect.Type // the type of the value, without a pointer or an Optional
	presence presence
	notNull  bool // the tag says so
}

// matches reports whether the field has that name: exactly as in its tag, or ignoring case and
// underscores, as in package pgx.
func (f *field) matches(name string) bool {
	if f.tagged {
		return f.name == name
	}
	return strings.EqualFold(strings.ReplaceAll(f.name, "_", ""), strings.ReplaceAll(name, "_", ""))
}

func findField(fields []field, name string) int {
	for i := range fields {
		if fields[i].matches(name) {
			return i
		}
	}
	return -1
}

// fieldsOf lists the exported fields of a struct and of the structs embedded in it.
func fieldsOf(t reflect.Type) ([]field, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%s is not a struct", t)
	}
	var fields []field
	for _, sf := range reflect.VisibleFields(t) {
		name, option, _ := strings.Cut(sf.Tag.Get("db"), ",")
		if !sf.IsExported() || name == "-" || isFlattened(sf) || insidePointer(t, sf.Index) {
			continue
		}
		if option != "" && option != "notnull" {
			return nil, fmt.Errorf("field %s: the tag's option %q is unknown", sf.Name, option)
		}
		f := field{name: name, tagged: name != "", index: sf.Index, declared: sf.Type, notNull: option != ""}
		if !f.tagged {
			f.name = sf.Name
		}
		f.typ, f.presence = presenceOf(sf.Type)
		fields = append(fields, f)
	}
	for i := range fields {
		if j := findField(fields[:i], fields[i].name); j >= 0 {
			return nil, fmt.Errorf("fields %s and %s have the same name", fields[j].name, fields[i].name)
		}
	}
	return fields, nil
}

// isFlattened reports whether the fields of an embedded struct count as fields of the outer one.
func isFlattened(sf reflect.StructField) bool {
	_, tagged := sf.Tag.Lookup("db")
	return sf.Anonymous && sf.Type.Kind() == reflect.Struct && !tagged
}

// insidePointer reports a promoted field that is missing if a pointer is nil, or a field of a
// struct with its own name.
func insidePointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		sf := t.Field(i)
		if !isFlattened(sf) {
			return true
		}
		t = sf.Type
	}
	return false
}

func presenceOf(t reflect.Type) (reflect.Type, presence) {
	if o, ok := reflect.Zero(t).Interface().(optional); ok && t.Kind() == reflect.Struct {
		return o.inner(), byOptional
	}
	switch t.Kind() {
	case reflect.Pointer:
		return t.Elem(), byNil
	case reflect.Slice, reflect.Map, reflect.Interface:
		return t, byNil
	case reflect.Bool:
		return t, byFlag
	}
	if hasValid(t) {
		return t, byValid
	}
	return t, required
}

// isPlain reports a field that is always there, and cannot hold null.
func (f *field) isPlain() bool { return f.presence == required || f.presence == byFlag }

// isAmbiguous reports a field that can be null in two ways, as **string and *[]string can.
func (f *field) isAmbiguous() bool {
	_, inner := presenceOf(f.typ)
	return f.typ.Kind() == reflect.Interface ||
		f.declared.Kind() == reflect.Pointer && (inner == byNil || inner == byValid || inner == byOptional)
}

// hasValid reports a struct with a field Valid that says whether it is null.
func hasValid(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	sf, ok := t.FieldByName("Valid")
	return ok && sf.Type.Kind() == reflect.Bool
}

// isNull reports a value that pgx sends as null.
func isNull(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	}
	return v.IsValid() && hasValid(v.Type()) && !v.FieldByName("Valid").Bool()
}

// read returns the value of the field in the struct, and whether it is there. pgx can encode the
// value; nil stands for a null Optional.
func (f *field) read(args reflect.Value) (any, bool) {
	v := args.FieldByIndex(f.index)
	switch f.presence {
	case byFlag:
		return v.Bool(), v.Bool()
	case byNil, byValid:
		if isNull(v) {
			return nil, false
		}
	case byOptional:
		value, s := v.Interface().(optional).optional()
		if s != present || isNull(reflect.ValueOf(value)) {
			value = nil
		}
		return value, s != absent
	}
	return v.Interface(), true
}

// bind returns the value for a text that needs the field, or the reason that there is none.
func (f *field) bind(args reflect.Value) (value any, reason string) {
	v, ok := f.read(args)
	switch {
	case !ok && f.presence != byFlag:
		return nil, "is missing"
	case v == nil && f.notNull:
		return nil, "cannot be null"
	}
	reason = checkSent(reflect.ValueOf(v))
	if reason == valuedNull && f.presence == byOptional && !f.notNull {
		reason = ""
	}
	return v, reason
}
