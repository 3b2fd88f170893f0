/* include/gguffuse.hpp: reading, products, writing; owners; exceptions and error codes; eight threads. Compiled as C++17
 * and C++20 by tests/cpp_api.rs. */
#include "common.h"
#include <algorithm>
#include <gguffuse.hpp>
#include <thread>

using gguffuse::bytes_of;
using gguffuse::span;

/* What a call throws: its status, or -1. */
template <class Call> static int32_t thrown(Call call) {
    try {
        call();
    } catch (const gguffuse::error &error) {
        return error.status();
    }
    return -1;
}

#define CHECK_THROWS(call, expected) CHECK(thrown([&] { (void)(call); }) == (expected))

struct model {
    std::vector<std::byte> data;
    std::vector<std::byte> file;
    static constexpr std::size_t n = 24, k = 512;
};

/* Through the writer: every kind of metadata, one matrix of Q4_K. */
static model make_model() {
    model made;
    size_t size = 0;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, model::n, model::k, 11, &size);
    made.data.resize(size);
    std::memcpy(made.data.data(), w, size);
    free(w);

    auto writer = gguffuse::writer::make({3, 64});
    writer.set("general.name", "a name");
    writer.set("text.empty", std::string());
    writer.set("u8", std::uint8_t{200});
    writer.set("i8", std::int8_t{-100});
    writer.set("u16", std::uint16_t{60000});
    writer.set("i16", std::int16_t{-30000});
    writer.set("u32", std::uint32_t{4000000000});
    writer.set("i32", std::int32_t{-2000000000});
    writer.set("u64", std::uint64_t{1} << 60);
    writer.set("i64", -(std::int64_t{1} << 60));
    writer.set("f32", 0.5f);
    writer.set("f64", 0.1);
    writer.set("f64.large", -1e300);
    writer.set("f64.infinite", -HUGE_VAL);
    writer.set("f64.nan", static_cast<double>(NAN));
    writer.set("bool", true);
    writer.set_array("array.u16", std::vector<std::uint16_t>{1, 2, 65535});
    const bool truths[] = {true, false, true};
    writer.set_array("array.bool", truths);
    writer.set_array("array.empty", std::vector<float>{});
    writer.set_strings("array.strings", std::vector<std::string>{"one", "", std::string("t\0o", 3)});
    writer.set_strings("array.none", std::vector<std::string_view>{});
    writer.set("removed", 1);
    writer.remove_metadata("removed");
    const std::uint64_t dims[] = {model::k, model::n};
    writer.add_tensor("w", GGUFFUSE_TYPE_Q4_K, dims, made.data);
    made.file.resize(static_cast<std::size_t>(writer.size()));
    if (writer.write_memory(made.file) != made.file.size()) {
        made.file.clear();
    }
    return made;
}

static int metadata(const model &made) {
    const auto file = gguffuse::file::open_memory(made.file);
    CHECK(file.info().alignment == 64 && file.info().version == 3 && file.info().tensor_count == 1);
    CHECK(file.info().size_bytes == made.file.size());
    CHECK(file.get<std::string_view>("general.name") == "a name");
    CHECK(file.get<std::string_view>("text.empty").empty());
    CHECK(file.get<std::uint8_t>("u8") == 200 && file.get<int>("u8") == 200);
    CHECK(file.get<std::int8_t>("i8") == -100 && file.get<double>("i8") == -100.0);
    CHECK(file.get<std::uint16_t>("u16") == 60000 && file.get<std::int16_t>("i16") == -30000);
    CHECK(file.get<std::uint32_t>("u32") == 4000000000 && file.get<std::int32_t>("i32") == -2000000000);
    CHECK(file.get<std::uint64_t>("u64") == std::uint64_t{1} << 60);
    CHECK(file.get<std::int64_t>("i64") == -(std::int64_t{1} << 60));
    CHECK(file.get<float>("f32") == 0.5f && file.get<double>("f64") == 0.1 && file.get<bool>("bool"));
    CHECK((file.get<std::vector<std::uint16_t>>("array.u16") == std::vector<std::uint16_t>{1, 2, 65535}));
    CHECK((file.get<std::vector<std::int64_t>>("array.u16") == std::vector<std::int64_t>{1, 2, 65535}));
    CHECK((file.get<std::vector<bool>>("array.bool") == std::vector<bool>{true, false, true}));
    CHECK(file.get<std::vector<float>>("array.empty").empty());
    const auto texts = file.get<std::vector<std::string_view>>("array.strings");
    CHECK(texts.size() == 3 && texts[0] == "one" && texts[1].empty() && texts[2] == std::string_view("t\0o", 3));
    CHECK(file.get<std::vector<std::string_view>>("array.none").empty());

    CHECK(file.get_or<std::uint32_t>("u8", 1) == 200 && file.get_or<std::uint32_t>("nothing", 1) == 1);
    CHECK_THROWS(file.get_or<bool>("u8", true), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_THROWS(file.get<std::uint8_t>("removed"), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_THROWS(file.get<std::int8_t>("u8"), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_THROWS(file.get<std::uint32_t>("i8"), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_THROWS(file.get<float>("f64"), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_THROWS(file.get<float>("f64.large"), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK(file.get<double>("f64.large") == -1e300 && file.get<float>("f64.infinite") == -HUGE_VALF);
    CHECK(std::isnan(file.get<float>("f64.nan")));
    CHECK_THROWS(file.get<std::string_view>("u8"), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_THROWS(file.get<std::vector<std::uint8_t>>("array.u16"), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_THROWS(file.get<std::vector<int>>("array.strings"), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_THROWS(file.get<std::vector<std::string_view>>("array.u16"), GGUFFUSE_ERROR_TYPE_MISMATCH);

    std::uint64_t keys = 0;
    for (; keys < file.info().metadata_count; keys++) {
        if (file.key(keys) == "array.u16") {
            CHECK(file.value_type(keys) == GGUFFUSE_METADATA_ARRAY);
            CHECK(file.get_at<std::vector<int>>(keys).size() == 3);
        }
    }
    CHECK(keys == 22); /* 21 set, and general.alignment */
    CHECK_THROWS(file.key(keys), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_THROWS(file.value_type(keys), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_THROWS(file.get_at<int>(keys), GGUFFUSE_ERROR_NOT_FOUND);
    return 0;
}

/* Arrays within arrays, numbers and strings. */
static int nested() {
    auto writer = gguffuse::writer::make();
    writer.set_array("a", std::vector<int>{1, 2});
    writer.set_array("b", std::vector<int>{3});
    writer.set_nested_array("numbers", std::vector<std::string>{"a", "b"});
    writer.set_strings("c", std::vector<std::string_view>{"x", "y"});
    writer.set_nested_array("texts", std::vector<const char *>{"c"});
    CHECK_THROWS(writer.set_nested_array("more", std::vector<const char *>{"a"}), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_THROWS(writer.set_nested_array("more", std::vector<std::string>{std::string("a\0", 2)}),
                 GGUFFUSE_ERROR_INVALID_ARGUMENT);
    std::vector<std::byte> bytes(static_cast<std::size_t>(writer.size()));
    writer.write_memory(bytes);
    const auto file = gguffuse::file::open_memory(bytes);
    using rows = std::vector<std::vector<int>>;
    CHECK((file.get<rows>("numbers") == rows{{1, 2}, {3}}));
    CHECK(file.get<std::vector<std::vector<std::string_view>>>("texts")[0][1] == "y");
    CHECK_THROWS(file.get<std::vector<int>>("numbers"), GGUFFUSE_ERROR_TYPE_MISMATCH);
    return 0;
}

static int tensors(const model &made) {
    const auto file = gguffuse::file::open_memory(made.file);
    const auto w = file.find("w");
    CHECK(w.name == "w" && w.index == 0 && w.n() == model::n && w.k() == model::k && w.type == GGUFFUSE_TYPE_Q4_K);
    CHECK(w.absolute_offset == file.info().data_offset + w.relative_offset && w.absolute_offset % 64 == 0);
    CHECK(file.absolute_offset("w") == w.absolute_offset);
    CHECK(w.data.size() == made.data.size());
    CHECK(std::memcmp(w.data.data(), made.data.data(), made.data.size()) == 0);
    CHECK(std::memcmp(made.file.data() + w.absolute_offset, made.data.data(), made.data.size()) == 0);
    CHECK(file.tensors().size() == 1 && file.tensors()[0].name == "w" && file.at(0).k() == model::k);
    CHECK_THROWS(file.at(1), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_THROWS(file.find("v"), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_THROWS(file.find(std::string_view("w\0", 2)), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_THROWS(file.find(std::string(5000, 'w')), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_THROWS(file.absolute_offset("v"), GGUFFUSE_ERROR_NOT_FOUND);
    return 0;
}

static std::vector<float> activations(std::size_t m) {
    std::vector<float> x(m * model::k);
    fill_normal(x.data(), x.size(), 3);
    return x;
}

static int products(const model &made) {
    const std::size_t m = 3, gap_x = model::k + 8, gap_y = model::n + 3;
    const auto file = gguffuse::file::open_memory(made.file);
    const auto w = file.find("w");
    const auto x = activations(m);
    const auto context = gguffuse::context::make({2, GGUFFUSE_PRECISION_EXACT, {}});
    CHECK(context.isa() == gguffuse::context::make().isa() && !gguffuse::isa_names().empty());
    CHECK(gguffuse::context::make({1, GGUFFUSE_PRECISION_FAST, "scalar"}).isa() == "scalar");
    CHECK_THROWS(gguffuse::context::make({1, 0, "sse1"}), GGUFFUSE_ERROR_UNSUPPORTED_ISA);
    CHECK_THROWS(gguffuse::context::make({1, 9, {}}), GGUFFUSE_ERROR_INVALID_ARGUMENT);

    std::vector<float> y(m * model::n), by_pointer(y.size()), by_rows(y.size());
    /* c-tests/matmul.c holds C's product against the f64 product; this is the same one, bit for bit. */
    std::vector<float> by_c(y.size());
    CHECK_OK(gguffuse_matmul(context.handle(), GGUFFUSE_TYPE_Q4_K, made.data.data(), made.data.size(), model::n, model::k,
                             x.data(), x.size(), 0, m, by_c.data(), by_c.size(), 0));
    context.matmul(file, w, x, m, y);
    CHECK(y == by_c && y[0] != 0.0f);
    context.matmul(w.weights(), x, m, by_pointer);
    CHECK(by_pointer == y);
    context.matmul_rows(w.weights(), 5, model::n, x, m, by_rows);
    context.matmul_rows(w.weights(), 0, 5, x, m, by_rows);
    CHECK(by_rows == y);

    std::vector<float> wide_x(m * gap_x, 7.0f), wide_y(m * gap_y, -1.0f);
    for (std::size_t i = 0; i < m; i++) {
        std::memcpy(&wide_x[i * gap_x], &x[i * model::k], model::k * sizeof(float));
    }
    context.matmul(file, w, wide_x, m, wide_y, {gap_x, gap_y});
    for (std::size_t i = 0; i < m; i++) {
        CHECK(std::memcmp(&wide_y[i * gap_y], &y[i * model::n], model::n * sizeof(float)) == 0);
        CHECK(i + 1 == m || wide_y[i * gap_y + model::n] == -1.0f);
    }
    CHECK_THROWS(context.matmul(file, w, span<const float>(x.data(), 5), m, y), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_THROWS(context.matmul(w.weights(), x, m, span<float>()), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_THROWS(context.matmul_rows(w.weights(), 5, 4, x, m, y), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    return 0;
}

static int blocks(const model &made) {
    const auto context = gguffuse::context::make();
    const auto q8 = gguffuse::type_info(GGUFFUSE_TYPE_Q8_0);
    CHECK(q8.name == "q8_0" && q8.block_elements == 32 && q8.block_bytes == 34 && q8.can_matmul && q8.can_quantize);
    CHECK(gguffuse::row_size(GGUFFUSE_TYPE_Q8_0, 64) == 68);
    CHECK_THROWS(gguffuse::type_info(4), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_THROWS(gguffuse::row_size(GGUFFUSE_TYPE_Q8_0, 65), GGUFFUSE_ERROR_SHAPE);

    std::vector<float> source(64), back(64);
    for (std::size_t i = 0; i < source.size(); i++) {
        source[i] = static_cast<float>(static_cast<int>(i % 32) - 16) * 127.0f / 16.0f;
    }
    std::vector<std::byte> blocks(68), others(68);
    gguffuse::quantize(GGUFFUSE_TYPE_Q8_0, source, 1, 64, blocks);
    context.quantize(GGUFFUSE_TYPE_Q8_0, source, 1, 64, {}, others);
    CHECK(blocks == others);
    context.quantize(GGUFFUSE_TYPE_Q8_0, source, 1, 64, std::vector<float>(64, 1.0f), others);
    CHECK(blocks == others);
    gguffuse::dequantize(GGUFFUSE_TYPE_Q8_0, blocks, back);
    for (std::size_t i = 0; i < source.size(); i++) {
        /* d is 1 here: half a step of rounding */
        CHECK(std::fabs(back[i] - source[i]) <= 0.5f);
    }
    /* The C functions can't see how long these are: the header does. */
    CHECK_THROWS(gguffuse::quantize(GGUFFUSE_TYPE_Q8_0, source, 2, 64, blocks), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_THROWS(context.quantize(GGUFFUSE_TYPE_Q8_0, source, 2, 64, {}, blocks), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_THROWS(context.quantize(GGUFFUSE_TYPE_Q8_0, source, 1, 64, back, span<std::byte>()), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_THROWS(context.quantize(GGUFFUSE_TYPE_Q8_0, source, 1, 64, span<const float>(back.data(), 63), blocks),
                 GGUFFUSE_ERROR_SHAPE);
    CHECK_THROWS(gguffuse::dequantize(GGUFFUSE_TYPE_Q8_0, blocks, span<float>(back.data(), 63)),
                 GGUFFUSE_ERROR_BUFFER_TOO_SMALL);

    const auto file = gguffuse::file::open_memory(made.file);
    CHECK(context.validate(file, file.at(0)) == UINT64_MAX);
    auto bad = made.data;
    bad[3 * Q4K_BYTES + 1] = std::byte{0x7e}; /* d of block 3: NaN */
    CHECK(context.validate(GGUFFUSE_TYPE_Q4_K, bad) == 3);
    CHECK_THROWS(context.validate(GGUFFUSE_TYPE_Q4_K, span<const std::byte>(bad.data(), 5)), GGUFFUSE_ERROR_SHAPE);
    return 0;
}

static int errors(const model &made, const std::string &directory) {
    std::error_code code = std::make_error_code(std::errc::io_error);
    auto file = gguffuse::file::open(directory + "/nothing.gguf", code);
    CHECK(code == GGUFFUSE_ERROR_IO && code.category() == gguffuse::category() && code.message() == "IO" && !file);
    CHECK(gguffuse::last_error().find("No such file") != std::string::npos);
    CHECK(file.find("w", code).k() == 0 && code == GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK(file.tensors(code).empty() && code == GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK(file.info(code).version == 0 && code == GGUFFUSE_ERROR_INVALID_HANDLE);

    file = gguffuse::file::open_memory(made.file, code);
    CHECK(!code && file);
    CHECK(file.get<int>("general.name", code) == 0 && code == GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK(file.get<std::vector<int>>("u8", code).empty() && code == GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK(file.get<int>("u8", code) == 200 && !code);
    CHECK(file.key(1000, code).empty() && code == GGUFFUSE_ERROR_NOT_FOUND);
    gguffuse::open_options small;
    small.max_metadata_bytes = 10;
    CHECK(!gguffuse::file::open_memory(made.file, small, code) && code == GGUFFUSE_ERROR_LIMIT);
    CHECK(!gguffuse::file::open(std::string_view("a\0b", 3), code) && code == GGUFFUSE_ERROR_INVALID_ARGUMENT);
    static_assert(noexcept(file.find("w", code)) && !noexcept(file.find("w")), "codes and exceptions");
    static_assert(!noexcept(file.tensors(code)), "a container may find no memory");

    try {
        file.find("v");
        CHECK(!"thrown");
    } catch (const std::system_error &error) {
        CHECK(error.code() == GGUFFUSE_ERROR_NOT_FOUND && std::strstr(error.what(), "NOT_FOUND") != nullptr);
        CHECK(std::strstr(error.what(), gguffuse::last_error().c_str()) != nullptr);
    }
    /* What the header itself refuses has a text of its own, not the last call's. */
    try {
        file.find(std::string_view("\0", 1));
        CHECK(!"thrown");
    } catch (const gguffuse::error &error) {
        CHECK(std::strstr(error.what(), "NUL") != nullptr);
    }
    return 0;
}

/* A file on disk that changes: a copy doesn't notice, a mapping is told by verify. */
static int changed_files(const model &made, const std::string &directory) {
    const std::string path = directory + "/changed.gguf";
    const auto store = [&path](const std::vector<std::byte> &bytes, std::size_t size) {
        FILE *out = fopen(path.c_str(), "wb");
        return out != nullptr && fwrite(bytes.data(), 1, size, out) == size && fclose(out) == 0;
    };
    CHECK(store(made.file, made.file.size()));
    gguffuse::open_options options;
    options.copy = true;
    const auto copied = gguffuse::file::open(path, options);
    const auto mapped = gguffuse::file::open(path);
    copied.verify();
    mapped.verify();
    CHECK(store(made.file, made.file.size() - 1));
    copied.verify();
    CHECK_THROWS(mapped.verify(), GGUFFUSE_ERROR_TRUNCATED);
    const auto data = copied.find("w").data;
    CHECK(data.size() == made.data.size() && std::memcmp(data.data(), made.data.data(), data.size()) == 0);
    CHECK(remove(path.c_str()) == 0);
    std::error_code code;
    mapped.verify(code);
    CHECK(code == GGUFFUSE_ERROR_CHANGED);
    /* A copy doesn't need the memory that it was made of. */
    auto bytes = made.file;
    const auto own = gguffuse::file::open_memory(bytes, options);
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    CHECK(std::memcmp(own.find("w").data.data(), made.data.data(), made.data.size()) == 0);
    return 0;
}

static int owners(const model &made) {
    static_assert(!std::is_copy_constructible_v<gguffuse::file> && !std::is_copy_assignable_v<gguffuse::file>);
    static_assert(std::is_nothrow_move_constructible_v<gguffuse::file> && std::is_nothrow_move_assignable_v<gguffuse::writer>);
    auto first = gguffuse::file::open_memory(made.file);
    gguffuse_file *const handle = first.handle();
    gguffuse::file second(std::move(first));
    CHECK(second.handle() == handle && !first); /* NOLINT: what is left is defined */
    CHECK_THROWS(first.find("w"), GGUFFUSE_ERROR_INVALID_HANDLE);
    first = gguffuse::file::open_memory(made.file);
    gguffuse_file *const replaced = first.handle();
    first = std::move(second);
    CHECK(first.handle() == handle);
    CHECK_STATUS(gguffuse_file_close(replaced), GGUFFUSE_ERROR_INVALID_HANDLE); /* closed by the assignment */
    auto &same = first;
    first = std::move(same);
    CHECK(first.find("w").k() == model::k);
    first.close();
    first.close();
    CHECK_THROWS(first.find("w"), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_STATUS(gguffuse_file_close(handle), GGUFFUSE_ERROR_INVALID_HANDLE);
    {
        second = gguffuse::file::open_memory(made.file);
        gguffuse::file third = std::move(second);
    }
    gguffuse_file *const given = gguffuse::file::open_memory(made.file).release();
    CHECK_OK(gguffuse_file_close(given));

    gguffuse::context context;
    CHECK(context.isa().empty());
    CHECK_THROWS(context.validate(GGUFFUSE_TYPE_Q4_K, made.data), GGUFFUSE_ERROR_INVALID_HANDLE);
    auto writer = gguffuse::writer::make();
    writer.close();
    CHECK_THROWS(writer.set("key", 1), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_THROWS(writer.size(), GGUFFUSE_ERROR_INVALID_HANDLE);
    return 0;
}

static int writing(const model &made, const std::string &directory) {
    const std::string path = directory + "/copy.gguf";
    const auto file = gguffuse::file::open_memory(made.file);
    auto writer = gguffuse::writer::make();
    writer.copy_metadata(file);
    writer.set("general.name", std::string_view("another"));
    const auto w = file.find("w");
    writer.add_tensor(w.name, w.type, span<const std::uint64_t>(w.dims.data(), w.n_dims), w.data);
    writer.write_file(path);
    const auto copy = gguffuse::file::open(path);
    CHECK(copy.get<std::string_view>("general.name") == "another" && copy.get<int>("u8") == 200);
    CHECK(copy.info().alignment == 64 && copy.find("w").data.size() == w.data.size());
    auto one = gguffuse::writer::make();
    one.copy_metadata(file, "u8");
    CHECK_THROWS(one.copy_metadata(file, "nothing"), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_THROWS(one.write_file(directory), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    std::byte few[8];
    CHECK_THROWS(one.write_memory(few), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    const std::vector<std::uint64_t> dims(5, 1);
    CHECK_THROWS(one.add_tensor("t", GGUFFUSE_TYPE_F32, dims, bytes_of(std::vector<float>(1))), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_THROWS(one.set("", 1), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_THROWS(gguffuse::writer::make({7, 0}), GGUFFUSE_ERROR_UNSUPPORTED_VERSION);
    return 0;
}

/* One packing for several products: the same bits as products with x itself. */
static int shared_activations(const model &made) {
    const std::size_t m = 3, gap_x = model::k + 8, gap_y = model::n + 3;
    const auto file = gguffuse::file::open_memory(made.file);
    const auto w = file.find("w");
    const auto x = activations(m);
    const auto context = gguffuse::context::make();
    std::vector<float> y(m * model::n), wide_x(m * gap_x, 7.0f), wide_y(m * gap_y, -1.0f);
    context.matmul(file, w, x, m, y);

    auto packed = gguffuse::activations::make();
    std::vector<float> by_tensor(y.size()), by_pointer(y.size()), by_rows(y.size());
    CHECK_THROWS(context.matmul(file, w, packed, y), GGUFFUSE_ERROR_INVALID_ARGUMENT); /* nothing is packed */
    context.pack(packed, x, m, model::k);
    context.matmul(file, w, packed, by_tensor);
    context.matmul(w.weights(), packed, by_pointer);
    context.matmul_rows(w.weights(), 0, 7, packed, by_rows);
    context.matmul_rows(w.weights(), 7, model::n, packed, by_rows);
    CHECK(by_tensor == y && by_pointer == y && by_rows == y);

    for (std::size_t i = 0; i < m; i++) {
        std::memcpy(&wide_x[i * gap_x], &x[i * model::k], model::k * sizeof(float));
    }
    context.pack(packed, wide_x, m, model::k, gap_x);
    context.matmul(file, w, packed, wide_y, {0, gap_y});
    for (std::size_t i = 0; i < m; i++) {
        CHECK(std::memcmp(&wide_y[i * gap_y], &y[i * model::n], model::n * sizeof(float)) == 0);
    }
    std::error_code code;
    context.pack(packed, x, m + 1, model::k, code);
    CHECK(code == GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    gguffuse::activations moved(std::move(packed));
    context.matmul(file, w, moved, by_tensor, code);
    CHECK(!code && by_tensor == y);
    context.matmul(file, w, packed, by_tensor, code); /* NOLINT: what is left is defined */
    CHECK(code == GGUFFUSE_ERROR_INVALID_HANDLE);
    return 0;
}

/* Eight threads share a file and a context, until one closes both under the others. */
static int threads(const model &made) {
    const std::size_t m = 2;
    const auto x = activations(m);
    auto file = gguffuse::file::open_memory(made.file);
    auto context = gguffuse::context::make({2, GGUFFUSE_PRECISION_EXACT, {}});
    std::vector<float> expected(m * model::n);
    context.matmul(file, file.find("w"), x, m, expected);
    std::atomic<int> wrong{0}, done{0}, refused{0};
    std::vector<std::thread> all;
    for (int t = 0; t < 8; t++) {
        all.emplace_back([&, t] {
            std::vector<float> y(m * model::n);
            std::error_code code;
            for (int i = 0; i < 200; i++) {
                const auto w = file.find("w", code);
                if (!code) {
                    context.matmul(file, w, x, m, y, code);
                }
                if (!code) {
                    wrong += y != expected;
                    done++;
                } else {
                    wrong += code != GGUFFUSE_ERROR_INVALID_HANDLE;
                    refused++;
                }
                if (t == 0 && i == 100) {
                    file.close();
                    context.close();
                }
            }
        });
    }
    for (auto &thread : all) {
        thread.join();
    }
    CHECK(wrong == 0 && done >= 101 && refused >= 99 && done + refused == 1600);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: cpp_api DIRECTORY\n");
        return 2;
    }
    const model made = make_model();
    CHECK(!made.file.empty());
    RUN(metadata(made));
    RUN(nested());
    RUN(tensors(made));
    RUN(products(made));
    RUN(blocks(made));
    RUN(errors(made, argv[1]));
    RUN(changed_files(made, argv[1]));
    RUN(owners(made));
    RUN(writing(made, argv[1]));
    RUN(shared_activations(made));
    RUN(threads(made));
    return 0;
}
