//! Devices and the arithmetic they are good at, and the one place where a panic of the tensor library is caught.
//! Knows nothing of students, jobs or requests.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{Cuda, Device, Kind};

use crate::domain::{Precision, ServingPrecision, out_of_memory};
use crate::native;

/// Why a device cannot be used, or what it did instead of answering.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Not a name that we know.
    #[error("unknown device {0:?}: use cpu, cuda or cuda:N with N counted from 0")]
    UnknownName(String),
    /// A GPU was asked for and is not there.
    #[error("device {name} was asked for, but libtorch sees {count} usable CUDA GPUs here{}", why_none(*.count))]
    NoGpu {
        /// The name as it was asked for.
        name: String,
        /// How many GPUs there are.
        count: i64,
    },
    /// There is not as much memory as the tensor library wanted.
    #[error("{what} needs more memory than there is: {message}")]
    OutOfMemory {
        /// What was being done.
        what: String,
        /// The first line of the library's own words.
        message: String,
    },
    /// The tensor library panicked: a wrong shape, an index past the end.
    #[error("{what} failed on the device: {message}")]
    Failed {
        /// What was being done.
        what: String,
        /// The first line of the library's own words.
        message: String,
    },
    /// Weights in eight bits, on a processor that cannot multiply them.
    #[error(
        "precision int8 needs a processor with AVX-512's instructions for bf16, and this one has none: use auto, bf16 or fp32"
    )]
    NoInt8,
    /// Weights in eight bits, on a GPU.
    #[error("precision int8 is for processors: on {device} use auto, bf16 or fp32")]
    Int8OnGpu {
        /// The GPU.
        device: String,
    },
}

/// Shapes of products that oneDNN keeps the machine code of. A step's products have some 60; the next step's are others,
/// since sequences lie end to end.
const KEPT_PRODUCTS: &str = "128";

/// Keeps oneDNN and its wrapper in libtorch from remembering a thousand shapes of products each, which take a megabyte a
/// shape. What the environment says holds. To be called while the process has one thread.
pub fn bound_memory_of_products() {
    for variable in ["ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"] {
        if std::env::var_os(variable).is_none() {
            // SAFETY: no other thread reads or writes the environment: there is none.
            unsafe { std::env::set_var(variable, KEPT_PRODUCTS) }
        }
    }
}

fn why_none(count: i64) -> &'static str {
    if count == 0 { " (no GPU, no driver, or a libtorch built for the processor alone); use cpu" } else { "" }
}

/// The device of a name: `cpu`, `cuda` (the first GPU) or `cuda:N`.
pub fn parse(name: &str) -> Result<Device, DeviceError> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let number = if name == "cuda" { Some("0") } else { name.strip_prefix("cuda:") };
    let index = number.and_then(|number| number.parse::<u16>().ok());
    let index = index.ok_or_else(|| DeviceError::UnknownName(name.to_owned()))?;
    let count = if Cuda::is_available() { Cuda::device_count() } else { 0 };
    if i64::from(index) >= count {
        return Err(DeviceError::NoGpu { name: name.to_owned(), count });
    }
    Ok(Device::Cuda(usize::from(index)))
}

/// The kind of number that matrix products use on a device. `auto` is bf16 on a GPU and on a processor that multiplies
/// it natively; elsewhere bf16 is emulated, slower than fp32 and less exact.
pub fn kind_for(precision: Precision, device: Device) -> Kind {
    kind_beside(if processor_multiplies_bf16() { Kind::BFloat16 } else { Kind::Float }, precision, device)
}

/// The same beside a processor that is best at this kind of number.
fn kind_beside(processors: Kind, precision: Precision, device: Device) -> Kind {
    match precision {
        Precision::Fp32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
        Precision::Auto if device.is_cuda() => Kind::BFloat16,
        Precision::Auto => processors,
    }
}

/// Whether students can answer in an arithmetic on a device.
pub fn check_precision(precision: ServingPrecision, device: Device) -> Result<(), DeviceError> {
    match (precision, device) {
        (ServingPrecision::Int8, Device::Cuda(index)) => {
            Err(DeviceError::Int8OnGpu { device: format!("cuda:{index}") })
        }
        (ServingPrecision::Int8, _) if !processor_multiplies_bf16() => Err(DeviceError::NoInt8),
        _ => Ok(()),
    }
}

/// How a kind of number and a device are called in settings and messages: `bf16 on cpu`.
pub fn words(kind: Kind, device: Device) -> String {
    on_device(if kind == Kind::BFloat16 { "bf16" } else { "fp32" }, device)
}

/// The same of what students answer in, whose weights may have fewer bits than the numbers that they are multiplied as.
pub fn words_of_answers(precision: ServingPrecision, device: Device) -> String {
    match precision {
        ServingPrecision::Int8 => on_device("int8", device),
        _ => words(kind_for(precision.products(), device), device),
    }
}

fn on_device(arithmetic: &str, device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("{arithmetic} on cuda:{index}"),
        _ => format!("{arithmetic} on cpu"),
    }
}

/// Whether the processor has instructions for bf16 products.
pub fn processor_multiplies_bf16() -> bool {
    native::t5::multiplies(Kind::BFloat16)
}

/// What the processor can do that changes the order in which libtorch adds numbers up, and so the last bits of a sum.
pub fn processor_capability() -> String {
    const DECISIVE: [&str; 7] = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd"];
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags: std::collections::HashSet<&str> = text.split_whitespace().collect();
    let found = DECISIVE.into_iter().filter(|flag| flags.contains(flag));
    std::iter::once(std::env::consts::ARCH).chain(found).collect::<Vec<_>>().join(" ")
}

/// What libtorch finds on this machine, in words.
pub fn describe() -> String {
    let gpus = if Cuda::is_available() { Cuda::device_count() } else { 0 };
    let arithmetic = if processor_multiplies_bf16() { "bf16" } else { "fp32" };
    format!("{gpus} usable CUDA GPUs; this processor computes in {arithmetic}")
}

/// Runs work on a device and turns a panic into an error. Tensors made inside are dropped while unwinding; what `work`
/// borrowed must be thrown away or not be half-changed by it, which is why callers wrap a whole unit of work.
pub fn catch<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let (what, message) = (what.to_owned(), first_line(panic.as_ref()));
        if out_of_memory::is_told_by(&message) {
            DeviceError::OutOfMemory { what, message }
        } else {
            DeviceError::Failed { what, message }
        }
    })
}

/// libtorch appends its C++ stack to a message, and its bindings quote the whole as Rust does; only the first line of its
/// own words tells a person something.
fn first_line(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let line = text.unwrap_or("a panic without words").lines().next().unwrap_or_default();
    let line = line.split_once("Torch(\"").map_or(line, |(_, words)| words);
    let line = line.split("\\n").next().unwrap_or(line);
    line.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_is_named() {
        let error = parse("gpu0").unwrap_err().to_string();
        assert!(error.contains("\"gpu0\"") && error.contains("cuda:N"), "{error}");
        assert_eq!(parse("cpu"), Ok(Device::Cpu));
    }

    #[test]
    fn a_gpu_that_is_not_there_is_refused() {
        let error = parse("cuda:999").unwrap_err().to_string();
        assert!(error.contains("cuda:999"), "{error}");
    }

    #[test]
    fn auto_is_what_the_processor_is_best_at_and_what_is_asked_for_is_taken() {
        let on_cpu = |processors| {
            [Precision::Auto, Precision::Fp32, Precision::Bf16]
                .map(|precision| kind_beside(processors, precision, Device::Cpu))
        };
        assert_eq!(on_cpu(Kind::Float), [Kind::Float, Kind::Float, Kind::BFloat16], "no instructions for bf16");
        assert_eq!(on_cpu(Kind::BFloat16), [Kind::BFloat16, Kind::Float, Kind::BFloat16]);
        assert_eq!(kind_beside(Kind::Float, Precision::Auto, Device::Cuda(0)), Kind::BFloat16);
        let here = if processor_multiplies_bf16() { Kind::BFloat16 } else { Kind::Float };
        assert_eq!(kind_for(Precision::Auto, Device::Cpu), here);
    }

    #[test]
    fn eight_bits_are_refused_in_words_where_nothing_computes_in_them() {
        let error = check_precision(ServingPrecision::Int8, Device::Cuda(1)).unwrap_err().to_string();
        assert_eq!(error, "precision int8 is for processors: on cuda:1 use auto, bf16 or fp32");
        let can = check_precision(ServingPrecision::Int8, Device::Cpu);
        assert_eq!(can.is_ok(), processor_multiplies_bf16(), "{can:?}");
    }

    #[test]
    fn eight_bits_are_called_so_though_they_are_multiplied_as_bf16() {
        let words = [ServingPrecision::Int8, ServingPrecision::Bf16, ServingPrecision::Fp32]
            .map(|kind| words_of_answers(kind, Device::Cpu));
        assert_eq!(words, ["int8 on cpu", "bf16 on cpu", "fp32 on cpu"]);
        assert_eq!(words_of_answers(ServingPrecision::Auto, Device::Cuda(1)), "bf16 on cuda:1");
    }

    #[test]
    fn memory_that_is_not_there_is_told_in_the_librarys_words() {
        let error = catch("a step", || tch::Tensor::zeros([1 << 50], tch::kind::FLOAT_CPU)).unwrap_err();
        let DeviceError::OutOfMemory { message, .. } = &error else { panic!("{error}") };
        assert!(message.contains("you tried to allocate") && message.starts_with('['), "{message}");
        assert!(!message.contains("frame #"), "{message}");
    }

    #[test]
    fn a_tensor_panic_becomes_an_error() {
        let error = catch("adding", || {
            tch::Tensor::zeros([2], tch::kind::FLOAT_CPU) + tch::Tensor::zeros([3], tch::kind::FLOAT_CPU)
        });
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("adding failed on the device") && error.lines().count() == 1, "{error}");
    }
}
