/* gguffuse for C++17 and later: the functions of gguffuse.h with owners, views and errors. Header-only; link the
 * library as for C. What a call does, its units and its errors stand in gguffuse.h, under the name that each function
 * here has in its comment.
 *
 * - Errors: every function that can fail takes a std::error_code as an optional last argument. With it nothing is thrown
 *   (and the function is noexcept, unless it returns a container): the code is set, or cleared on success, and what is
 *   returned on failure is an empty value. Without it gguffuse::error is thrown. Codes compare with the numbers of
 *   gguffuse.h: `if (code == GGUFFUSE_ERROR_NOT_FOUND)`. With -fno-exceptions only the first way compiles.
 * - Owners (file, context, writer, activations) can be moved, not copied, and close at the end of their lives; close()
 *   does so before. Closed and moved-from ones may be used: everything gives GGUFFUSE_ERROR_INVALID_HANDLE.
 * - Threads: any function but move and destruction may be called on one object from any threads at any time, close()
 *   included.
 * - Views (std::string_view, span) of a file's names, strings and data are valid until the file is closed. */
#ifndef GGUFFUSE_HPP
#define GGUFFUSE_HPP

#include "gguffuse.h"
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>
#if __has_include(<span>)
#include <span>
#endif

/* ---- errors ---- */

namespace gguffuse {

/** The category of the codes; messages are the names of the statuses, as in "NOT_FOUND". */
inline const std::error_category &category() noexcept {
    static const struct : std::error_category {
        const char *name() const noexcept override { return "gguffuse"; }
        std::string message(int status) const override { return gguffuse_status_name(status); }
    } instance{};
    return instance;
}

/** The text of this thread's last failed call: gguffuse_last_error. */
inline std::string last_error() {
    char text[512];
    gguffuse_last_error(text, sizeof text);
    return text;
}

} // namespace gguffuse

template <> struct std::is_error_code_enum<gguffuse_status> : std::true_type {};

inline std::error_code make_error_code(gguffuse_status status) noexcept {
    return {static_cast<int>(status), gguffuse::category()};
}

namespace gguffuse {

/** What is thrown: the status as code(), the library's text and the status' name as what(). */
class error : public std::system_error {
public:
    error(gguffuse_status status, const std::string &text) : std::system_error(make_error_code(status), text) {}
    gguffuse_status status() const noexcept { return static_cast<gguffuse_status>(code().value()); }
};

/* ---- spans ---- */

#ifdef __cpp_lib_span
using std::span;
#else
/** What C++17 lacks of std::span: elements that lie one behind another and belong to somebody else. */
template <class T> class span {
    template <class Container>
    using fits = std::enable_if_t<std::is_convertible_v<
        std::remove_pointer_t<decltype(std::data(std::declval<Container &>()))> (*)[], T (*)[]>>;
    T *data_ = nullptr;
    std::size_t size_ = 0;

public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <class Container, class = fits<Container>>
    constexpr span(Container &container) noexcept : span(std::data(container), std::size(container)) {}
    template <class Container, class = fits<const Container>>
    constexpr span(const Container &container) noexcept : span(std::data(container), std::size(container)) {}
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t index) const noexcept { return data_[index]; }
    constexpr span subspan(std::size_t first, std::size_t count) const noexcept { return {data_ + first, count}; }
};
#endif

/** The bytes of a vector, an array or a span. */
template <class Container> span<const std::byte> bytes_of(const Container &container) noexcept {
    return {reinterpret_cast<const std::byte *>(std::data(container)),
            std::size(container) * sizeof *std::data(container)};
}

/* ---- how it is done ---- */

namespace detail {

/** A call's status; where this header found the error itself, what is wrong. */
struct outcome {
    gguffuse_status status = GGUFFUSE_OK;
    const char *text = nullptr;
    outcome(gguffuse_status what, const char *why = nullptr) noexcept : status(what), text(why) {}
};

/** Nothing, or one std::error_code. */
template <class... Ec>
using codes = std::enable_if_t<sizeof...(Ec) <= 1 && (std::is_same_v<Ec, std::error_code> && ...), int>;

inline void report(outcome what, std::error_code &code) noexcept { code = make_error_code(what.status); }

#ifdef __cpp_exceptions
inline void report(outcome what) {
    if (what.status != GGUFFUSE_OK) {
        throw error(what.status, what.text != nullptr ? what.text : last_error());
    }
}
#endif

/** Calls `call` with `text` as C has it. Names are short: no memory is taken for them. */
template <class Call> outcome with_c_string(std::string_view text, Call call) noexcept {
    char few[128];
    std::unique_ptr<char[]> many;
    char *copy = few;
    if (text.find('\0') != std::string_view::npos) {
        return {GGUFFUSE_ERROR_INVALID_ARGUMENT, "a name holds NUL"};
    }
    if (text.size() >= sizeof few) {
        many.reset(new (std::nothrow) char[text.size() + 1]);
        copy = many.get();
        if (copy == nullptr) {
            return {GGUFFUSE_ERROR_OUT_OF_MEMORY, "no memory for a name"};
        }
    }
    copy[text.copy(copy, text.size())] = '\0';
    return call(static_cast<const char *>(copy));
}

/** A handle that is closed once. Atomic, so that one thread may close it while others use it. */
template <class Handle, gguffuse_status (*Close)(Handle *)> class owner {
    std::atomic<Handle *> handle_{nullptr};

protected:
    explicit owner(Handle *handle) noexcept : handle_(handle) {}

public:
    owner() noexcept = default;
    owner(owner &&other) noexcept : handle_(other.release()) {}
    owner &operator=(owner &&other) noexcept {
        if (this != &other) {
            Close(handle_.exchange(other.release()));
        }
        return *this;
    }
    ~owner() { close(); }
    /** Closes it now; does nothing where it is closed. */
    void close() noexcept { Close(release()); }
    /** For the functions of gguffuse.h; NULL where it is closed. It still belongs to this object. */
    Handle *handle() const noexcept { return handle_.load(); }
    /** The handle, which is the caller's to close now. */
    Handle *release() noexcept { return handle_.exchange(nullptr); }
    explicit operator bool() const noexcept { return handle() != nullptr; }
};

template <class T> struct is_vector : std::false_type {};
template <class T> struct is_vector<std::vector<T>> : std::true_type {};

/** GGUF's number of a C++ type of numbers. */
template <class T> constexpr std::uint32_t value_type_of() noexcept {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "a number that GGUF has");
    constexpr bool is_signed = std::is_signed_v<T>;
    if constexpr (std::is_same_v<T, bool>) {
        return GGUFFUSE_METADATA_BOOL;
    } else if constexpr (std::is_floating_point_v<T>) {
        return sizeof(T) == 4 ? GGUFFUSE_METADATA_FLOAT32 : GGUFFUSE_METADATA_FLOAT64;
    } else if constexpr (sizeof(T) == 1) {
        return is_signed ? GGUFFUSE_METADATA_INT8 : GGUFFUSE_METADATA_UINT8;
    } else if constexpr (sizeof(T) == 2) {
        return is_signed ? GGUFFUSE_METADATA_INT16 : GGUFFUSE_METADATA_UINT16;
    } else if constexpr (sizeof(T) == 4) {
        return is_signed ? GGUFFUSE_METADATA_INT32 : GGUFFUSE_METADATA_UINT32;
    } else {
        return is_signed ? GGUFFUSE_METADATA_INT64 : GGUFFUSE_METADATA_UINT64;
    }
}

/** Which value: a metadata entry and a way into its arrays, which lie at most 4 deep. */
struct place {
    gguffuse_file *file;
    std::uint64_t index;
    std::array<std::uint64_t, 4> path{};
    std::size_t depth = 0;
};

/** `wide` as a T, if it is one. */
template <class T, class Wide> outcome narrow(outcome what, Wide wide, T &out) noexcept {
    if (what.status == GGUFFUSE_OK) {
        bool fits = true;
        if constexpr (std::is_floating_point_v<T>) {
            // Finite doubles past the largest float have no defined conversion; infinities and NaN have.
            const Wide magnitude = wide < 0 ? -wide : wide;
            fits = !(magnitude > std::numeric_limits<T>::max()) || magnitude == std::numeric_limits<Wide>::infinity();
        }
        const T value = fits ? static_cast<T>(wide) : T{};
        // NaN equals nothing, itself included.
        if (!fits || (static_cast<Wide>(value) != wide && wide == wide)) {
            return {GGUFFUSE_ERROR_TYPE_MISMATCH, "a number doesn't fit into the type that was asked for"};
        }
        out = value;
    }
    return what;
}

template <class T> outcome read(const place &at, T &out) noexcept(!is_vector<T>::value);

/** All strings of an array at once: the library goes over it once, not anew for each. */
inline outcome read_strings(const place &at, std::size_t count, std::vector<std::string_view> &out) {
    // One more, as vectors without elements have no address.
    std::vector<const char *> texts(count + 1);
    std::vector<std::size_t> lengths(count + 1);
    const outcome what = gguffuse_metadata_array_strings(at.file, at.index, at.path.data(), at.depth, texts.data(),
                                                         lengths.data(), count);
    if (what.status == GGUFFUSE_OK) {
        std::vector<std::string_view> values(count);
        for (std::size_t i = 0; i < count; i++) {
            values[i] = {texts[i], lengths[i]};
        }
        std::swap(out, values);
    }
    return what;
}

template <class T> outcome read_array(place at, std::vector<T> &out) {
    std::uint32_t type = 0;
    std::uint64_t count = 0;
    const void *data = nullptr;
    std::size_t size = 0;
    outcome what = gguffuse_metadata_array_info(at.file, at.index, at.path.data(), at.depth, &type, &count);
    if (what.status == GGUFFUSE_OK && at.depth == at.path.size()) {
        what = {GGUFFUSE_ERROR_LIMIT, "arrays that lie deeper than this header knows"};
    }
    if (what.status != GGUFFUSE_OK) {
        return what;
    }
    if constexpr (std::is_same_v<T, std::string_view>) {
        if (type == GGUFFUSE_METADATA_STRING) {
            return read_strings(at, static_cast<std::size_t>(count), out);
        }
    }
    std::vector<T> values(static_cast<std::size_t>(count));
    if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
        if (type == value_type_of<T>()) {
            what = gguffuse_metadata_array_data(at.file, at.index, at.path.data(), at.depth, &data, &size);
            if (what.status == GGUFFUSE_OK && size > 0) {
                std::memcpy(values.data(), data, size);
            }
            std::swap(out, values);
            return what;
        }
    }
    at.depth++;
    for (std::uint64_t i = 0; i < count && what.status == GGUFFUSE_OK; i++) {
        T value{};
        at.path[at.depth - 1] = i;
        what = read(at, value);
        values[static_cast<std::size_t>(i)] = std::move(value);
    }
    if (what.status == GGUFFUSE_OK) {
        std::swap(out, values);
    }
    return what;
}

template <class T> outcome read(const place &at, T &out) noexcept(!is_vector<T>::value) {
    const std::uint64_t *path = at.path.data();
    if constexpr (is_vector<T>::value) {
        return read_array(at, out);
    } else if constexpr (std::is_same_v<T, bool>) {
        return gguffuse_metadata_element_bool(at.file, at.index, path, at.depth, &out);
    } else if constexpr (std::is_same_v<T, std::string_view>) {
        const char *text = nullptr;
        std::size_t length = 0;
        const outcome what = gguffuse_metadata_element_string(at.file, at.index, path, at.depth, &text, &length);
        if (what.status == GGUFFUSE_OK) {
            out = {text, length};
        }
        return what;
    } else if constexpr (std::is_floating_point_v<T>) {
        double wide = 0;
        const outcome what = gguffuse_metadata_element_f64(at.file, at.index, path, at.depth, &wide);
        return narrow(what, wide, out);
    } else if constexpr (std::is_signed_v<T>) {
        std::int64_t wide = 0;
        const outcome what = gguffuse_metadata_element_i64(at.file, at.index, path, at.depth, &wide);
        return narrow(what, wide, out);
    } else {
        static_assert(std::is_unsigned_v<T>, "bool, a number, std::string_view, or a std::vector of those");
        std::uint64_t wide = 0;
        const outcome what = gguffuse_metadata_element_u64(at.file, at.index, path, at.depth, &wide);
        return narrow(what, wide, out);
    }
}

} // namespace detail

/* ---- types of weights ---- */

/** gguffuse_type_info. */
struct type {
    std::string_view name;
    std::uint32_t block_elements = 0;
    std::uint32_t block_bytes = 0;
    bool can_matmul = false;
    bool can_quantize = false;
};

/** gguffuse_type_info. */
template <class... Ec, detail::codes<Ec...> = 0>
type type_info(std::uint32_t number, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
    struct gguffuse_type_info info {};
    info.struct_size = sizeof info;
    info.name = "";
    detail::report(gguffuse_type_info(number, &info), ec...);
    return {info.name, info.block_elements, info.block_bytes, info.can_matmul != 0, info.can_quantize != 0};
}

/** gguffuse_row_size. */
template <class... Ec, detail::codes<Ec...> = 0>
std::size_t row_size(std::uint32_t number, std::uint64_t k, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
    std::size_t bytes = 0;
    detail::report(gguffuse_row_size(number, k, &bytes), ec...);
    return bytes;
}

/** gguffuse_dequantize. */
template <class... Ec, detail::codes<Ec...> = 0>
void dequantize(std::uint32_t number, span<const std::byte> source, span<float> out,
                Ec &...ec) noexcept(sizeof...(Ec) != 0) {
    detail::report(gguffuse_dequantize(number, source.data(), source.size(), out.data(), out.size()), ec...);
}

namespace detail {

/** rows x k floats must be there: the C functions can't see how many are. */
inline outcome holds(span<const float> source, std::size_t rows, std::size_t k) noexcept {
    if (k != 0 && rows > source.size() / k) {
        return {GGUFFUSE_ERROR_BUFFER_TOO_SMALL, "the source has fewer than rows * k floats"};
    }
    return GGUFFUSE_OK;
}

} // namespace detail

/** gguffuse_quantize. */
template <class... Ec, detail::codes<Ec...> = 0>
void quantize(std::uint32_t number, span<const float> source, std::size_t rows, std::size_t k, span<std::byte> out,
              Ec &...ec) noexcept(sizeof...(Ec) != 0) {
    detail::outcome what = detail::holds(source, rows, k);
    if (what.status == GGUFFUSE_OK) {
        what = gguffuse_quantize(number, source.data(), rows, k, out.data(), out.size());
    }
    detail::report(what, ec...);
}

/** A matrix of weights, n rows of k, in anybody's memory. */
struct weights {
    std::uint32_t type = 0;
    span<const std::byte> data;
    std::size_t n = 0;
    std::size_t k = 0;
};

/** Floats from the start of one row to the next; 0: rows without gaps. */
struct strides {
    std::size_t x = 0;
    std::size_t y = 0;
};

/* ---- files ---- */

/** gguffuse_tensor_info, and the index that it is for. */
struct tensor {
    std::uint64_t index = 0;
    std::string_view name;
    std::uint32_t type = 0;
    std::uint32_t n_dims = 0;
    std::array<std::uint64_t, 4> dims{};
    std::uint64_t relative_offset = 0;
    std::uint64_t absolute_offset = 0;
    span<const std::byte> data;

    std::size_t k() const noexcept { return static_cast<std::size_t>(dims[0]); }
    /** All dimensions but the first. */
    std::size_t n() const noexcept { return static_cast<std::size_t>(dims[1] * dims[2] * dims[3]); }
    gguffuse::weights weights() const noexcept { return {type, data, n(), k()}; }
};

/** gguffuse_open_options; 0: the default. */
struct open_options {
    std::uint64_t max_metadata_bytes = 0;
    bool copy = false;
};

/** gguffuse_file_info. */
struct file_info {
    std::uint32_t version = 0;
    std::uint32_t alignment = 0;
    std::uint64_t tensor_count = 0;
    std::uint64_t metadata_count = 0;
    std::uint64_t data_offset = 0;
    std::uint64_t size_bytes = 0;
};

/** An open file: gguffuse_file. */
class file : public detail::owner<gguffuse_file, gguffuse_file_close> {
    explicit file(gguffuse_file *handle) noexcept : owner(handle) {}

    static gguffuse_open_options options_of(const open_options &options) noexcept {
        gguffuse_open_options all{};
        all.struct_size = sizeof all;
        all.max_metadata_bytes = options.max_metadata_bytes;
        all.copy = options.copy ? 1 : 0;
        return all;
    }

    detail::outcome info_of(std::uint64_t index, tensor &out) const noexcept {
        struct gguffuse_tensor_info info {};
        info.struct_size = sizeof info;
        const gguffuse_status status = gguffuse_tensor_info(handle(), index, &info);
        if (status == GGUFFUSE_OK) {
            out = {index, {info.name, info.name_length}, info.type, info.n_dims, {}, info.relative_offset,
                   info.absolute_offset,
                   {static_cast<const std::byte *>(info.data), static_cast<std::size_t>(info.size_bytes)}};
            std::memcpy(out.dims.data(), info.dims, sizeof info.dims);
        }
        return status;
    }

    detail::outcome find_key(std::string_view key, std::uint64_t &index) const noexcept {
        return detail::with_c_string(
            key, [&](const char *name) { return gguffuse_metadata_find(handle(), name, &index); });
    }

public:
    file() noexcept = default;

    /** gguffuse_file_open. */
    template <class... Ec, detail::codes<Ec...> = 0>
    static file open(std::string_view path, const open_options &options, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        gguffuse_file *handle = nullptr;
        const gguffuse_open_options all = options_of(options);
        const detail::outcome what = detail::with_c_string(
            path, [&](const char *name) { return gguffuse_file_open(name, &all, &handle); });
        detail::report(what, ec...);
        return file(handle);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    static file open(std::string_view path, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        return open(path, open_options{}, ec...);
    }

    /** gguffuse_file_open_memory: `data` is borrowed. */
    template <class... Ec, detail::codes<Ec...> = 0>
    static file open_memory(span<const std::byte> data, const open_options &options,
                            Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        gguffuse_file *handle = nullptr;
        const gguffuse_open_options all = options_of(options);
        detail::report(gguffuse_file_open_memory(data.data(), data.size(), &all, &handle), ec...);
        return file(handle);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    static file open_memory(span<const std::byte> data, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        return open_memory(data, open_options{}, ec...);
    }

    /** gguffuse_file_info. */
    template <class... Ec, detail::codes<Ec...> = 0> file_info info(Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        struct gguffuse_file_info all {};
        all.struct_size = sizeof all;
        detail::report(gguffuse_file_info(handle(), &all), ec...);
        return {all.version, all.alignment, all.tensor_count, all.metadata_count, all.data_offset, all.size_bytes};
    }

    /** gguffuse_file_verify. */
    template <class... Ec, detail::codes<Ec...> = 0> void verify(Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_file_verify(handle()), ec...);
    }

    /** gguffuse_tensor_info: the tensor with an index. */
    template <class... Ec, detail::codes<Ec...> = 0>
    tensor at(std::uint64_t index, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        tensor out;
        detail::report(info_of(index, out), ec...);
        return out;
    }

    /** gguffuse_tensor_find and gguffuse_tensor_info: the tensor with a name. */
    template <class... Ec, detail::codes<Ec...> = 0>
    tensor find(std::string_view name, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        tensor out;
        std::uint64_t index = 0;
        detail::outcome what = detail::with_c_string(
            name, [&](const char *text) { return gguffuse_tensor_find(handle(), text, &index); });
        if (what.status == GGUFFUSE_OK) {
            what = info_of(index, out);
        }
        detail::report(what, ec...);
        return out;
    }

    /** All tensors, in the order of the file. */
    template <class... Ec, detail::codes<Ec...> = 0> std::vector<tensor> tensors(Ec &...ec) const {
        struct gguffuse_file_info all {};
        all.struct_size = sizeof all;
        detail::outcome what = gguffuse_file_info(handle(), &all);
        std::vector<tensor> out(static_cast<std::size_t>(all.tensor_count));
        for (std::size_t i = 0; i < out.size() && what.status == GGUFFUSE_OK; i++) {
            what = info_of(i, out[i]);
        }
        if (what.status != GGUFFUSE_OK) {
            out.clear();
        }
        detail::report(what, ec...);
        return out;
    }

    /** gguffuse_tensor_absolute_offset. */
    template <class... Ec, detail::codes<Ec...> = 0>
    std::uint64_t absolute_offset(std::string_view name, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        std::uint64_t offset = 0;
        const detail::outcome what = detail::with_c_string(name, [&](const char *text) {
            return gguffuse_tensor_absolute_offset(handle(), text, &offset);
        });
        detail::report(what, ec...);
        return offset;
    }

    /** gguffuse_metadata_key: the key of entry `index`, 0 to info().metadata_count - 1. */
    template <class... Ec, detail::codes<Ec...> = 0>
    std::string_view key(std::uint64_t index, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        const char *text = "";
        std::size_t length = 0;
        detail::report(gguffuse_metadata_key(handle(), index, &text, &length), ec...);
        return {text, length};
    }

    /** gguffuse_metadata_type: one of GGUFFUSE_METADATA_*. */
    template <class... Ec, detail::codes<Ec...> = 0>
    std::uint32_t value_type(std::uint64_t index, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        std::uint32_t number = 0;
        detail::report(gguffuse_metadata_type(handle(), index, &number), ec...);
        return number;
    }

    /** The value of `key` as a T: bool, a number, std::string_view, or a std::vector of one of these, arrays within
     * arrays included. Numbers of other types are taken if they fit exactly. */
    template <class T, class... Ec, detail::codes<Ec...> = 0>
    T get(std::string_view key, Ec &...ec) const noexcept(sizeof...(Ec) != 0 && !detail::is_vector<T>::value) {
        T out{};
        std::uint64_t index = 0;
        detail::outcome what = find_key(key, index);
        if (what.status == GGUFFUSE_OK) {
            what = detail::read(detail::place{handle(), index}, out);
        }
        detail::report(what, ec...);
        return out;
    }

    /** get, with `fallback` where there is no such key. */
    template <class T, class... Ec, detail::codes<Ec...> = 0>
    T get_or(std::string_view key, T fallback, Ec &...ec) const {
        std::uint64_t index = 0;
        detail::outcome what = find_key(key, index);
        if (what.status == GGUFFUSE_OK) {
            what = detail::read(detail::place{handle(), index}, fallback);
        } else if (what.status == GGUFFUSE_ERROR_NOT_FOUND) {
            what = GGUFFUSE_OK;
        }
        detail::report(what, ec...);
        return fallback;
    }

    /** get for the metadata entry with an index. */
    template <class T, class... Ec, detail::codes<Ec...> = 0>
    T get_at(std::uint64_t index, Ec &...ec) const noexcept(sizeof...(Ec) != 0 && !detail::is_vector<T>::value) {
        T out{};
        detail::report(detail::read(detail::place{handle(), index}, out), ec...);
        return out;
    }
};

/* ---- products ---- */

/** gguffuse_context_options; 0 and nothing: the defaults. */
struct context_options {
    std::uint32_t threads = 0;
    std::uint32_t precision = GGUFFUSE_PRECISION_EXACT;
    std::string_view max_isa;
};

/** Activations that are packed once for several products: gguffuse_activations. */
class activations : public detail::owner<gguffuse_activations, gguffuse_activations_free> {
    explicit activations(gguffuse_activations *handle) noexcept : owner(handle) {}

public:
    activations() noexcept = default;

    /** gguffuse_activations_new. */
    template <class... Ec, detail::codes<Ec...> = 0> static activations make(Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        gguffuse_activations *handle = nullptr;
        detail::report(gguffuse_activations_new(&handle), ec...);
        return activations(handle);
    }
};

/** Threads, precision and instruction set of products: gguffuse_context. Always y[m][n] = x[m][k] * W[n][k]^T. */
class context : public detail::owner<gguffuse_context, gguffuse_context_free> {
    explicit context(gguffuse_context *handle) noexcept : owner(handle) {}

public:
    context() noexcept = default;

    /** gguffuse_context_new. */
    template <class... Ec, detail::codes<Ec...> = 0>
    static context make(const context_options &options, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        gguffuse_context *handle = nullptr;
        const detail::outcome what = detail::with_c_string(options.max_isa, [&](const char *max_isa) {
            gguffuse_context_options all{};
            all.struct_size = sizeof all;
            all.threads = options.threads;
            all.precision = options.precision;
            all.max_isa = options.max_isa.empty() ? nullptr : max_isa;
            return gguffuse_context_new(&all, &handle);
        });
        detail::report(what, ec...);
        return context(handle);
    }
    template <class... Ec, detail::codes<Ec...> = 0> static context make(Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        return make(context_options{}, ec...);
    }

    /** gguffuse_context_isa; empty where it is closed. */
    std::string_view isa() const noexcept {
        const char *name = gguffuse_context_isa(handle());
        return name != nullptr ? name : "";
    }

    /** gguffuse_matmul_tensor: the file may be closed by another thread meanwhile. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul(const file &from, const tensor &w, span<const float> x, std::size_t m, span<float> y, strides gaps,
                Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_matmul_tensor(handle(), from.handle(), w.index, x.data(), x.size(), gaps.x, m, y.data(),
                                              y.size(), gaps.y),
                       ec...);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul(const file &from, const tensor &w, span<const float> x, std::size_t m, span<float> y,
                Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        matmul(from, w, x, m, y, strides{}, ec...);
    }

    /** gguffuse_matmul. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul(const weights &w, span<const float> x, std::size_t m, span<float> y, strides gaps,
                Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_matmul(handle(), w.type, w.data.data(), w.data.size(), w.n, w.k, x.data(), x.size(),
                                       gaps.x, m, y.data(), y.size(), gaps.y),
                       ec...);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul(const weights &w, span<const float> x, std::size_t m, span<float> y,
                Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        matmul(w, x, m, y, strides{}, ec...);
    }

    /** gguffuse_matmul_rows: weight rows n_begin to n_end - 1, on the calling thread alone. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul_rows(const weights &w, std::size_t n_begin, std::size_t n_end, span<const float> x, std::size_t m,
                     span<float> y, strides gaps, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_matmul_rows(handle(), w.type, w.data.data(), w.data.size(), w.n, w.k, n_begin, n_end,
                                            x.data(), x.size(), gaps.x, m, y.data(), y.size(), gaps.y),
                       ec...);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul_rows(const weights &w, std::size_t n_begin, std::size_t n_end, span<const float> x, std::size_t m,
                     span<float> y, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        matmul_rows(w, n_begin, n_end, x, m, y, strides{}, ec...);
    }

    /** gguffuse_activations_pack: x[m][k], with rows `x_stride` floats apart, 0 for rows without gaps. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void pack(activations &into, span<const float> x, std::size_t m, std::size_t k, std::size_t x_stride,
              Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_activations_pack(handle(), into.handle(), x.data(), x.size(), x_stride, m, k), ec...);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    void pack(activations &into, span<const float> x, std::size_t m, std::size_t k,
              Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        pack(into, x, m, k, std::size_t{0}, ec...);
    }

    /** gguffuse_activations_matmul_tensor: the file may be closed by another thread meanwhile. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul(const file &from, const tensor &w, const activations &x, span<float> y, strides gaps,
                Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_activations_matmul_tensor(handle(), x.handle(), from.handle(), w.index, y.data(),
                                                          y.size(), gaps.y),
                       ec...);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul(const file &from, const tensor &w, const activations &x, span<float> y,
                Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        matmul(from, w, x, y, strides{}, ec...);
    }

    /** gguffuse_activations_matmul. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul(const weights &w, const activations &x, span<float> y, strides gaps,
                Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_activations_matmul(handle(), x.handle(), w.type, w.data.data(), w.data.size(), w.n, w.k,
                                                   y.data(), y.size(), gaps.y),
                       ec...);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul(const weights &w, const activations &x, span<float> y, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        matmul(w, x, y, strides{}, ec...);
    }

    /** gguffuse_activations_matmul_rows: weight rows n_begin to n_end - 1, on the calling thread alone. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul_rows(const weights &w, std::size_t n_begin, std::size_t n_end, const activations &x, span<float> y,
                     strides gaps, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_activations_matmul_rows(handle(), x.handle(), w.type, w.data.data(), w.data.size(), w.n,
                                                        w.k, n_begin, n_end, y.data(), y.size(), gaps.y),
                       ec...);
    }
    template <class... Ec, detail::codes<Ec...> = 0>
    void matmul_rows(const weights &w, std::size_t n_begin, std::size_t n_end, const activations &x, span<float> y,
                     Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        matmul_rows(w, n_begin, n_end, x, y, strides{}, ec...);
    }

    /** gguffuse_validate: the index of the first bad block, UINT64_MAX where all are well. */
    template <class... Ec, detail::codes<Ec...> = 0>
    std::uint64_t validate(std::uint32_t number, span<const std::byte> data,
                           Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        std::uint64_t bad = 0;
        detail::report(gguffuse_validate(handle(), number, data.data(), data.size(), &bad), ec...);
        return bad;
    }

    /** gguffuse_tensor_validate. */
    template <class... Ec, detail::codes<Ec...> = 0>
    std::uint64_t validate(const file &from, const tensor &w, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        std::uint64_t bad = 0;
        detail::report(gguffuse_tensor_validate(handle(), from.handle(), w.index, &bad), ec...);
        return bad;
    }

    /** gguffuse_quantize_with; `importance`: k floats, or nothing. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void quantize(std::uint32_t number, span<const float> source, std::size_t rows, std::size_t k,
                  span<const float> importance, span<std::byte> out, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        detail::outcome what = detail::holds(source, rows, k);
        if (what.status == GGUFFUSE_OK && !importance.empty() && importance.size() != k) {
            what = {GGUFFUSE_ERROR_SHAPE, "the importance has another length than k"};
        }
        if (what.status == GGUFFUSE_OK) {
            what = gguffuse_quantize_with(handle(), number, source.data(), rows, k,
                                          importance.empty() ? nullptr : importance.data(), out.data(), out.size());
        }
        detail::report(what, ec...);
    }
};

/** gguffuse_isa_name: the levels of this machine, lowest first. */
inline std::vector<std::string_view> isa_names() {
    std::vector<std::string_view> names;
    while (const char *name = gguffuse_isa_name(names.size())) {
        names.emplace_back(name);
    }
    return names;
}

/* ---- writing ---- */

/** gguffuse_writer_options; 0: the defaults. */
struct writer_options {
    std::uint32_t version = 0;
    std::uint32_t alignment = 0;
};

/** A file that is being made: gguffuse_writer. */
class writer : public detail::owner<gguffuse_writer, gguffuse_writer_free> {
    explicit writer(gguffuse_writer *handle) noexcept : owner(handle) {}

    template <class T> static detail::outcome put(gguffuse_writer *to, const char *key, T value) noexcept {
        constexpr std::uint32_t number = detail::value_type_of<T>();
        if constexpr (number == GGUFFUSE_METADATA_BOOL) {
            return gguffuse_writer_set_bool(to, key, value);
        } else if constexpr (number == GGUFFUSE_METADATA_FLOAT32) {
            return gguffuse_writer_set_f32(to, key, value);
        } else if constexpr (number == GGUFFUSE_METADATA_FLOAT64) {
            return gguffuse_writer_set_f64(to, key, value);
        } else if constexpr (number == GGUFFUSE_METADATA_UINT8) {
            return gguffuse_writer_set_u8(to, key, static_cast<std::uint8_t>(value));
        } else if constexpr (number == GGUFFUSE_METADATA_INT8) {
            return gguffuse_writer_set_i8(to, key, static_cast<std::int8_t>(value));
        } else if constexpr (number == GGUFFUSE_METADATA_UINT16) {
            return gguffuse_writer_set_u16(to, key, static_cast<std::uint16_t>(value));
        } else if constexpr (number == GGUFFUSE_METADATA_INT16) {
            return gguffuse_writer_set_i16(to, key, static_cast<std::int16_t>(value));
        } else if constexpr (number == GGUFFUSE_METADATA_UINT32) {
            return gguffuse_writer_set_u32(to, key, static_cast<std::uint32_t>(value));
        } else if constexpr (number == GGUFFUSE_METADATA_INT32) {
            return gguffuse_writer_set_i32(to, key, static_cast<std::int32_t>(value));
        } else if constexpr (number == GGUFFUSE_METADATA_UINT64) {
            return gguffuse_writer_set_u64(to, key, static_cast<std::uint64_t>(value));
        } else {
            return gguffuse_writer_set_i64(to, key, static_cast<std::int64_t>(value));
        }
    }

public:
    writer() noexcept = default;

    /** gguffuse_writer_new. */
    template <class... Ec, detail::codes<Ec...> = 0>
    static writer make(const writer_options &options, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        gguffuse_writer *handle = nullptr;
        gguffuse_writer_options all{};
        all.struct_size = sizeof all;
        all.version = options.version;
        all.alignment = options.alignment;
        detail::report(gguffuse_writer_new(&all, &handle), ec...);
        return writer(handle);
    }
    template <class... Ec, detail::codes<Ec...> = 0> static writer make(Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        return make(writer_options{}, ec...);
    }

    /** gguffuse_writer_set_*: `value` is a bool, a number, which keeps its type, or a string. */
    template <class T, class... Ec, detail::codes<Ec...> = 0>
    void set(std::string_view key, const T &value, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        const detail::outcome what = detail::with_c_string(key, [&](const char *name) -> detail::outcome {
            if constexpr (std::is_convertible_v<const T &, std::string_view>) {
                const std::string_view text = value;
                const char *data = text.empty() ? "" : text.data();
                return gguffuse_writer_set_string(handle(), name, data, text.size());
            } else {
                return put(handle(), name, value);
            }
        });
        detail::report(what, ec...);
    }

    /** gguffuse_writer_set_array: a vector, an array or a span of numbers or bools. */
    template <class Container, class... Ec, detail::codes<Ec...> = 0>
    void set_array(std::string_view key, const Container &values, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        using element = std::remove_cv_t<std::remove_reference_t<decltype(*std::data(values))>>;
        // NULL is refused for no elements as well.
        const void *data = std::size(values) != 0 ? static_cast<const void *>(std::data(values)) : "";
        const detail::outcome what = detail::with_c_string(key, [&](const char *name) {
            return gguffuse_writer_set_array(handle(), name, detail::value_type_of<element>(), data, std::size(values));
        });
        detail::report(what, ec...);
    }

    /** gguffuse_writer_set_string_array: a container of what converts to std::string_view. Takes memory of its own. */
    template <class Container, class... Ec, detail::codes<Ec...> = 0>
    void set_strings(std::string_view key, const Container &values, Ec &...ec) {
        std::vector<const char *> texts;
        std::vector<std::size_t> lengths;
        for (const std::string_view text : values) {
            texts.push_back(text.empty() ? "" : text.data());
            lengths.push_back(text.size());
        }
        // One more, as vectors without elements have no address.
        texts.push_back("");
        lengths.push_back(0);
        const detail::outcome what = detail::with_c_string(key, [&](const char *name) {
            return gguffuse_writer_set_string_array(handle(), name, texts.data(), lengths.data(), texts.size() - 1);
        });
        detail::report(what, ec...);
    }

    /** gguffuse_writer_set_nested_array: the keys of arrays that were set before. Takes memory of its own. */
    template <class Container, class... Ec, detail::codes<Ec...> = 0>
    void set_nested_array(std::string_view key, const Container &element_keys, Ec &...ec) {
        const std::vector<std::string> names(std::begin(element_keys), std::end(element_keys));
        std::vector<const char *> texts;
        detail::outcome what = GGUFFUSE_OK;
        for (const std::string &name : names) {
            if (name.find('\0') != std::string::npos) {
                what = {GGUFFUSE_ERROR_INVALID_ARGUMENT, "a name holds NUL"};
            }
            texts.push_back(name.c_str());
        }
        texts.push_back(nullptr); // vectors without elements have no address
        if (what.status == GGUFFUSE_OK) {
            what = detail::with_c_string(key, [&](const char *name) {
                return gguffuse_writer_set_nested_array(handle(), name, texts.data(), names.size());
            });
        }
        detail::report(what, ec...);
    }

    /** gguffuse_writer_copy_metadata for one key. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void copy_metadata(const file &from, std::string_view key, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        const detail::outcome what = detail::with_c_string(key, [&](const char *name) {
            return gguffuse_writer_copy_metadata(handle(), from.handle(), name);
        });
        detail::report(what, ec...);
    }
    /** gguffuse_writer_copy_metadata for all of them. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void copy_metadata(const file &from, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        detail::report(gguffuse_writer_copy_metadata(handle(), from.handle(), nullptr), ec...);
    }

    /** gguffuse_writer_remove_metadata. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void remove_metadata(std::string_view key, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        const detail::outcome what = detail::with_c_string(
            key, [&](const char *name) { return gguffuse_writer_remove_metadata(handle(), name); });
        detail::report(what, ec...);
    }

    /** gguffuse_writer_add_tensor: `data` is borrowed until this writer is closed. `dims`: k first, then n. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void add_tensor(std::string_view name, std::uint32_t number, span<const std::uint64_t> dims,
                    span<const std::byte> data, Ec &...ec) noexcept(sizeof...(Ec) != 0) {
        detail::outcome what = {GGUFFUSE_ERROR_INVALID_ARGUMENT, "more than 4 dimensions"};
        if (dims.size() <= 4) {
            what = detail::with_c_string(name, [&](const char *text) {
                return gguffuse_writer_add_tensor(handle(), text, number, static_cast<std::uint32_t>(dims.size()),
                                                  dims.data(), data.data(), data.size());
            });
        }
        detail::report(what, ec...);
    }

    /** gguffuse_writer_size. */
    template <class... Ec, detail::codes<Ec...> = 0>
    std::uint64_t size(Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        std::uint64_t bytes = 0;
        detail::report(gguffuse_writer_size(handle(), &bytes), ec...);
        return bytes;
    }

    /** gguffuse_writer_write_memory; the bytes written. */
    template <class... Ec, detail::codes<Ec...> = 0>
    std::size_t write_memory(span<std::byte> buffer, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        std::size_t written = 0;
        detail::report(gguffuse_writer_write_memory(handle(), buffer.data(), buffer.size(), &written), ec...);
        return written;
    }

    /** gguffuse_writer_write_file. */
    template <class... Ec, detail::codes<Ec...> = 0>
    void write_file(std::string_view path, Ec &...ec) const noexcept(sizeof...(Ec) != 0) {
        const detail::outcome what = detail::with_c_string(
            path, [&](const char *name) { return gguffuse_writer_write_file(handle(), name); });
        detail::report(what, ec...);
    }
};

} // namespace gguffuse

#endif
