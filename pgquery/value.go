package pgquery

import (
	"bytes"
	"cmp"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// validator is a type that knows its values, as sqlc writes it for enums.
type validator interface{ Valid() bool }

// isValidator is the same with the name that package net/netip chose.
type isValidator interface{ IsValid() bool }

// The server's range is 4713 BC to 294276 AD. The limits are rounded inwards.
const minYear, maxYear = -4711, 294275

// maxDepth bounds nested values: the server's max_stack_depth of 2 MB is good for some thousands.
const maxDepth = 1000

// needsCheck reports whether a value of the type can be one that the server refuses although it
// accepts the type.
func needsCheck(t reflect.Type, seen []reflect.Type) bool {
	for _, s := range seen {
		if s == t {
			return false // whatever is found is found at the outer one
		}
	}
	seen = append(seen, t)
	if t.Implements(reflect.TypeFor[validator]()) || t.Implements(reflect.TypeFor[isValidator]()) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Interface, reflect.Map:
		return true
	case reflect.Slice, reflect.Array:
		return t == reflect.TypeFor[json.RawMessage]() || t.Elem().Kind() != reflect.Uint8 && needsCheck(t.Elem(), seen)
	case reflect.Pointer:
		return needsCheck(t.Elem(), seen)
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return true
		}
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && needsCheck(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// checkValue returns why the server would refuse the value, or "".
func checkValue(v reflect.Value, depth int) string {
	if !v.IsValid() {
		return ""
	}
	if depth > maxDepth {
		return "is nested too deeply"
	}
	if v.Type().NumMethod() > 0 && v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
		switch known := v.Interface().(type) {
		case time.Time:
			return checkTime(known)
		case json.RawMessage:
			if known == nil {
				return ""
			}
			return checkJSON(known)
		case json.Number:
			return checkNumber(known)
		case validator:
			if !known.Valid() {
				return "is not a value of its type"
			}
		case isValidator:
			if !known.IsValid() {
				return "is not a value of its type"
			}
		}
	}
	switch v.Kind() {
	case reflect.String:
		return checkString(v.String())
	case reflect.Pointer:
		return checkValue(v.Elem(), depth+1)
	case reflect.Interface:
		return checkValue(v.Elem(), depth)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return ""
		}
		for i := range v.Len() {
			if reason := checkValue(v.Index(i), depth+1); reason != "" {
				return reason
			}
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			if reason := checkValue(key, depth+1); reason != "" {
				return reason
			}
			if reason := checkValue(value, depth+1); reason != "" {
				return reason
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			if reason := checkValue(v.Field(i), depth+1); reason != "" {
				return reason
			}
		}
	}
	return ""
}

func checkString(s string) string {
	if !utf8.ValidString(s) {
		return "is not UTF-8"
	}
	if strings.IndexByte(s, 0) >= 0 {
		return "contains a NUL"
	}
	return ""
}

func checkTime(t time.Time) string {
	if y := t.Year(); y < minYear || y > maxYear {
		return "is outside of the server's range of times"
	}
	return ""
}

// checkJSON returns why jsonb would refuse a text that is JSON to Go: an escaped NUL, half of a
// surrogate pair, a number that is out of range, or deep nesting.
func checkJSON(raw json.RawMessage) string {
	const invalid = "is not JSON that the server accepts"
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || !json.Valid(raw) || !utf8.Valid(raw) || checkValue(reflect.ValueOf(v), 0) != "" {
		return invalid
	}
	// The decoder replaces half a pair by U+FFFD.
	isReplaced := func(text []byte) bool { return bytes.ContainsRune(text, utf8.RuneError) }
	lower := bytes.ToLower(raw)
	if bytes.Contains(lower, []byte(`\ud`)) && !bytes.Contains(lower, []byte(`\ufffd`)) && !isReplaced(raw) {
		if decoded, err := json.Marshal(v); err != nil || isReplaced(decoded) {
			return invalid
		}
	}
	return ""
}

// checkNumber wants a number that is far inside the limits of the type numeric.
func checkNumber(n json.Number) string {
	const limit = 1000
	_, exponent, _ := strings.Cut(strings.ToLower(n.String()), "e")
	if e, err := strconv.Atoi(cmp.Or(exponent, "0")); err != nil || e > limit || e < -limit || len(n) > limit {
		return "is a number out of range"
	}
	return ""
}
