package pgquery

import (
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
			return checkJSON(known)
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
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return checkValue(v.Elem(), depth+1)
		}
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
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return invalid
	}
	depth := 0
	for i := 0; i < len(raw); {
		n, ok := 1, true
		switch c := raw[i]; {
		case c == '"':
			n, ok = checkJSONString(raw[i:])
		case c == '-' || c >= '0' && c <= '9':
			n, ok = checkJSONNumber(raw[i:])
		case c == '[' || c == '{':
			depth++
			ok = depth <= maxDepth
		case c == ']' || c == '}':
			depth--
		}
		if !ok {
			return invalid
		}
		i += n
	}
	return ""
}

// checkJSONString returns the length of the string at the start of raw, which is valid JSON.
func checkJSONString(raw []byte) (int, bool) {
	high := false // the escape before was the first half of a pair
	for i := 1; ; {
		pair := high
		high = false
		if raw[i] != '\\' || raw[i+1] != 'u' {
			switch {
			case pair:
				return 0, false
			case raw[i] == '"':
				return i + 1, true
			case raw[i] == '\\':
				i++
			}
			i++
			continue
		}
		code, _ := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
		isLow := code >= 0xdc00 && code <= 0xdfff
		high = code >= 0xd800 && code <= 0xdbff
		if code == 0 || pair != isLow {
			return 0, false
		}
		i += 6
	}
}

// checkJSONNumber returns the length of the number at the start of raw. Its limits are far inside
// those of the type numeric.
func checkJSONNumber(raw []byte) (int, bool) {
	const maxDigits = 1000
	n := 0
	for n < len(raw) && strings.IndexByte("+-.eE0123456789", raw[n]) >= 0 {
		n++
	}
	exponent := 0
	if i := strings.IndexAny(string(raw[:n]), "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(string(raw[i+1 : n])); err != nil {
			return 0, false
		}
	}
	return n, n <= maxDigits && exponent <= maxDigits && exponent >= -maxDigits
}
