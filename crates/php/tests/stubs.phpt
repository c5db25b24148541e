--TEST--
The stubs declare what the extension defines
--EXTENSIONS--
kennel
--FILE--
<?php
/** A declaration as Reflection shows it, in one line. */
function shown(ReflectionFunctionAbstract $function): string
{
    $parameters = array_map(function (ReflectionParameter $p) {
        $default = $p->isDefaultValueAvailable() ? ' = ' . var_export($p->getDefaultValue(), true) : '';
        return $p->getType() . ($p->isPassedByReference() ? ' &$' : ' $') . $p->getName() . $default;
    }, $function->getParameters());
    $modifiers = $function instanceof ReflectionMethod ? Reflection::getModifierNames($function->getModifiers()) : [];
    return trim(implode(' ', $modifiers) . ' ' . $function->getName() . '(' . implode(', ', $parameters) . '): '
        . $function->getReturnType());
}

/** Everything that is declared with the name Kennel in a namespace, one declaration in each line. */
function declared(string $in): array
{
    $lines = [];
    foreach (get_defined_functions() as $functions) {
        foreach (preg_grep('/^' . strtolower($in) . 'kennel_/', $functions) as $name) {
            $lines[] = shown(new ReflectionFunction($name));
        }
    }
    foreach (preg_grep('/^' . $in . 'Kennel\\\\/', get_declared_classes()) as $name) {
        $class = new ReflectionClass($name);
        $own = fn ($member) => $member->getDeclaringClass()->getName() === $name;
        $lines[] = implode(' ', Reflection::getModifierNames($class->getModifiers())) . " class $name";
        foreach (array_filter($class->getMethods(), $own) as $method) {
            $lines[] = "$name " . shown($method);
        }
        foreach (array_filter($class->getReflectionConstants(), $own) as $constant) {
            $lines[] = "$name::{$constant->getName()} = {$constant->getValue()}";
        }
        foreach (array_filter($class->getProperties(), $own) as $property) {
            $lines[] = "$name \${$property->getName()} = " . var_export($property->getDefaultValue(), true);
        }
    }
    $lines = array_map(fn ($line) => str_replace(['Stub\\', 'stub\\'], '', $line), $lines);
    sort($lines);
    return $lines;
}

$script = str_replace(['namespace Kennel', 'namespace {', '{}'], ['namespace Stub\\Kennel', 'namespace Stub {', '{ exit; }'],
    file_get_contents(__DIR__ . '/../stubs/kennel.php'));
eval(substr($script, 5));
$extension = declared('');
$stubs = declared('Stub\\\\');
foreach (array_diff($extension, $stubs) as $line) {
    echo "not in the stubs: $line\n";
}
foreach (array_diff($stubs, $extension) as $line) {
    echo "only in the stubs: $line\n";
}
echo count($extension) > 60 ? "compared\n" : "too few\n";
?>
--EXPECT--
compared
