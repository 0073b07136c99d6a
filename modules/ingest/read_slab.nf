process READ_SLAB {
    tag "${role} ${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    tuple val(meta), path(plan, stageAs: 'plan.json')
    val flags

    output:
    tuple val(meta), path("${role}.ome.zarr"), path("${role}.ome.zarr.manifest.json"), path('figures.json'), emit: slab
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    read_slab.py ${flags} ${source ? "--source ${source}" : ''} --plan plan.json --role ${role} --block ${meta.block} --output ${role}.ome.zarr --figures figures.json
    """

    stub:
    """
    stub.sh ${role}.ome.zarr/ ${role}.ome.zarr.manifest.json figures.json read_slab.${role}.${meta.block}.provenance.json
    """
}
